// The weights of one block in LibTorch, as its plan (architecture/model_plan.h) lists them.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "architecture/model_plan.h"
#include "compressor/representation/representation.h"
#include "compressor/torch.h"
#include "format/quantized_checkpoint.h"

namespace bitsmith {

// A linear over a dense matrix or any representation.
struct Linear {
  std::string name;  // the module, as of LinearPlan
  int64_t out_features = 0;
  int64_t in_features = 0;
  torch::Tensor weight;  // [out, in]; when defined it is what forward() uses (dense, or the
                         // dequantized copy that a trainer keeps); else the representation is
  torch::Tensor bias;    // [out] or undefined
  std::shared_ptr<Representation> representation;  // null when the linear is dense
  // Sees the inputs [..., in] and outputs [..., out] of each forward(), to hook their gradients for
  // instance. Not set in most.
  std::function<void(const torch::Tensor& inputs, const torch::Tensor& outputs)> observer;
  torch::Tensor forward(const torch::Tensor& x) const;
};

struct Norm {
  NormPlan plan;               // does not exist: forward() is the identity
  torch::Tensor weight, bias;  // [size]
  // Over the last dimension of x.
  torch::Tensor forward(const torch::Tensor& x) const;
};

struct Mlp {
  MlpPlan plan;
  std::vector<Linear> inputs;  // as MlpPlan::inputs
  Linear output;
  // Inputs [..., features] -> those of `output`, [..., width].
  torch::Tensor hidden(const torch::Tensor& m) const;
};

struct Block {
  int64_t index = 0;
  const BlockPlan* plan = nullptr;  // of the model, which outlives the block
  std::vector<Site> sites;          // in the order in which a token visits them
  Norm attention_norm, attention_output_norm, mlp_norm, mlp_output_norm;
  Norm q_norm, k_norm;
  std::vector<Linear> attention_inputs;  // as AttentionPlan::inputs
  Linear attention_output;
  torch::Tensor router;   // [experts, hidden] where there are experts
  std::vector<Mlp> mlps;  // one, or one an expert

  std::vector<Linear*> linears();  // site by site
  std::vector<Linear*> site_linears(size_t site);
  // The place in `sites` of the one of this kind, and of this expert where there are some.
  size_t place(Site::Kind kind, int64_t expert = -1) const;
  // The biases and norms that this block has, with their names.
  std::vector<std::pair<std::string, torch::Tensor*>> dense_vectors();
};

Norm load_norm(const ModelFiles& files, const NormPlan& plan, torch::Dtype dtype);
// Quantized linears hold their representations.
std::shared_ptr<Block> load_block(const ModelFiles& files, int64_t block_index, torch::Dtype dtype);
// Experts have names and sizes only: each runs between load_expert() and drop_expert().
std::shared_ptr<Block> load_block_without_experts(const ModelFiles& files, int64_t block_index,
                                                  torch::Dtype dtype);
void load_expert(const ModelFiles& files, int64_t expert, torch::Dtype dtype, Block& block);
void drop_expert(int64_t expert, Block& block);

}  // namespace bitsmith
