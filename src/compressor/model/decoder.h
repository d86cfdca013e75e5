// The decoder in LibTorch, once, configured by data: every family of architecture/ runs here.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "compressor/model/block.h"
#include "compressor/model/fused_ops.h"
#include "compressor/torch.h"
#include "format/quantized_checkpoint.h"

namespace bitsmith {

// Called with the place of a site in Block::sites and its inputs while a block runs: [batch,
// length, features], or [tokens, features] of those that an expert gets.
using SiteObserver = std::function<void(size_t site, const torch::Tensor& inputs)>;

// From final hidden states to logits.
struct OutputHead {
  torch::Tensor weight;  // [vocab, hidden]
  double soft_cap = 0;   // logit -> cap * tanh(logit / cap); 0: none
  // Changes its work space in place: for use without gradients.
  torch::Tensor logits(const torch::Tensor& hidden) const;
};

// Tables of the plan's ropes, in their order.
using RotaryTables = std::vector<RotaryTable>;

class Decoder {
 public:
  // Reads embedding, final norm, head (when not tied) and all blocks, in `dtype`. Quantized blocks
  // hold their representations; a quantized embedding or head is decoded once, and holds its own
  // beside that where a trainer asks for it.
  static std::unique_ptr<Decoder> load(std::shared_ptr<const ModelFiles> files, torch::Dtype dtype,
                                       bool outer_representations = false);
  // The same without the blocks, for passes from ids to logits that stream them.
  static std::unique_ptr<Decoder> load_without_blocks(std::shared_ptr<const ModelFiles> files,
                                                      torch::Dtype dtype,
                                                      bool outer_representations = false);
  // Reads learned positions and the embedding's norm, where there are such: for load_block(),
  // rotary(), embed_with() and run_block() alone, when blocks are streamed.
  static std::unique_ptr<Decoder> open(std::shared_ptr<const ModelFiles> files, torch::Dtype dtype);
  std::shared_ptr<Block> load_block(int64_t block_index) const;

  const ModelPlan& plan() const { return files_->plan(); }
  const ModelFiles& files() const { return *files_; }
  std::vector<std::shared_ptr<Block>>& blocks() { return blocks_; }
  torch::Dtype dtype() const { return dtype_; }

  // [batch, length] int64 -> [batch, length, hidden], the inputs of the first block.
  torch::Tensor embed(const torch::Tensor& ids) const {
    return embed_with(embedding_->weight, ids);
  }
  // The same by another embedding matrix [vocab, hidden].
  torch::Tensor embed_with(const torch::Tensor& embedding, const torch::Tensor& ids) const;
  RotaryTables rotary(int64_t length) const;  // for windows of `length` from position 0
  // x [batch, length, hidden] -> the same; causal, positions 0..length-1.
  torch::Tensor run_block(const Block& block, const torch::Tensor& x, const RotaryTables& rotary,
                          const SiteObserver& observer = {}) const;
  // Its parts, each from what the one before gives. x are the block's inputs.
  torch::Tensor attention_inputs(const Block& block, const torch::Tensor& x) const;
  torch::Tensor attention(const Block& block, const torch::Tensor& a,
                          const RotaryTables& rotary) const;
  // Attention's outputs o [batch, length, heads * head_dim] through their linear, added to x.
  torch::Tensor add_attention(const Block& block, const torch::Tensor& x,
                              const torch::Tensor& o) const;
  torch::Tensor mlp_inputs(const Block& block, const torch::Tensor& x,
                           const torch::Tensor& h) const;
  // The MLP's hidden values d [batch, length, width] through their linear, added to h: the block's
  // outputs.
  torch::Tensor add_mlp(const Block& block, const torch::Tensor& h, const torch::Tensor& d) const;
  // The same for a block of experts, from the MLP's inputs m.
  torch::Tensor add_experts(const Block& block, const torch::Tensor& h,
                            const torch::Tensor& m) const;
  torch::Tensor final_norm(const torch::Tensor& x) const { return norm_.forward(x); }
  // Final hidden states (after the norm) of ids [batch, length].
  torch::Tensor hidden_states(const torch::Tensor& ids) const;
  OutputHead head() const { return {head_->weight, plan().logit_soft_cap}; }
  // The embedding, and the head where it is not the same matrix. Both are used by `weight`.
  std::vector<Linear*> outer_linears();

 private:
  std::shared_ptr<const ModelFiles> files_;
  torch::Dtype dtype_ = torch::kFloat32;
  std::shared_ptr<Linear> embedding_, head_;  // [vocab, hidden]; one where they are tied
  torch::Tensor positions_;                   // [rows, hidden] or undefined
  Norm embedding_norm_, norm_;
  std::vector<std::shared_ptr<Block>> blocks_;
};

}  // namespace bitsmith
