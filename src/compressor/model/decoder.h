// The decoder in LibTorch, once, configured by data: Llama, Qwen2, Qwen3, Mistral.
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "compressor/model/fused_ops.h"
#include "compressor/representation/representation.h"
#include "compressor/torch.h"
#include "format/quantized_checkpoint.h"

namespace bitsmith {

// A linear over a dense matrix or any representation.
struct Linear {
  std::string name;  // Hugging Face module: "model.layers.3.self_attn.q_proj"
  int64_t out_features = 0;
  int64_t in_features = 0;
  torch::Tensor weight;  // [out, in]; when defined it is what forward() uses (dense, or the
                         // dequantized copy that a trainer keeps); else the representation is
  torch::Tensor bias;    // [out] or undefined
  std::shared_ptr<Representation> representation;  // null when the linear is dense
  torch::Tensor forward(const torch::Tensor& x) const;
};

// Linears that read the same activations share one site, and one Hessian.
enum class InputSite { kAttentionInput, kAttentionOutput, kMlpInput, kMlpDown };
// In the order in which a block visits them.
constexpr std::array kSites = {InputSite::kAttentionInput, InputSite::kAttentionOutput,
                               InputSite::kMlpInput, InputSite::kMlpDown};
constexpr int kInputSites = kSites.size();
const char* site_name(InputSite site);

struct Block {
  torch::Tensor input_norm, post_attention_norm;  // [hidden]
  torch::Tensor q_norm, k_norm;                   // [head_dim], Qwen3 only
  Linear q, k, v, o, gate, up, down;
  int64_t sliding_window = 0;  // 0: all

  std::vector<Linear*> linears();  // q k v o gate up down
  std::vector<Linear*> site_linears(InputSite site);
  // The biases and norms that this block has, with their names in block number `block_index`.
  std::vector<std::pair<std::string, torch::Tensor*>> dense_vectors(int64_t block_index);
};

// Called with a site's inputs [batch, length, features] while a block runs.
using SiteObserver = std::function<void(InputSite, const torch::Tensor&)>;

class Decoder {
 public:
  // Reads embedding, final norm, head (when not tied) and all blocks, in `dtype`. Quantized blocks
  // hold their representations, a quantized embedding or head is decoded once.
  static std::unique_ptr<Decoder> load(std::shared_ptr<const ModelFiles> files, torch::Dtype dtype);
  // Reads nothing: for load_block(), rotary() and run_block() alone, when blocks are streamed.
  static std::unique_ptr<Decoder> open(std::shared_ptr<const ModelFiles> files, torch::Dtype dtype);
  std::shared_ptr<Block> load_block(int64_t block_index) const;

  const ModelConfig& config() const { return files_->config(); }
  const ModelFiles& files() const { return *files_; }
  std::vector<std::shared_ptr<Block>>& blocks() { return blocks_; }
  torch::Dtype dtype() const { return dtype_; }

  torch::Tensor embed(
      const torch::Tensor& ids) const;       // [batch, length] int64 -> [batch, length, hidden]
  RotaryTable rotary(int64_t length) const;  // for windows of `length` from position 0
  // x [batch, length, hidden] -> the same; causal, positions 0..length-1.
  torch::Tensor run_block(const Block& block, const torch::Tensor& x, const RotaryTable& rotary,
                          const SiteObserver& observer = {}) const;
  // Its parts, each from what the one before gives: inputs of q, k and v; of o; and, where h is x
  // plus o's outputs, of gate and up; of down, whose outputs are added to h.
  torch::Tensor attention_inputs(const Block& block, const torch::Tensor& x) const;
  torch::Tensor attention(const Block& block, const torch::Tensor& a,
                          const RotaryTable& rotary) const;
  torch::Tensor mlp_inputs(const Block& block, const torch::Tensor& h) const;
  torch::Tensor mlp_hidden(const Block& block, const torch::Tensor& m) const;
  torch::Tensor final_norm(const torch::Tensor& x) const;
  // Final hidden states (after the norm) of ids [batch, length].
  torch::Tensor hidden_states(const torch::Tensor& ids) const;
  const Linear& head() const { return head_; }  // weight [vocab, hidden]

 private:
  std::shared_ptr<const ModelFiles> files_;
  torch::Dtype dtype_ = torch::kFloat32;
  torch::Tensor embedding_, norm_;
  Linear head_;
  std::vector<std::shared_ptr<Block>> blocks_;
};

}  // namespace bitsmith
