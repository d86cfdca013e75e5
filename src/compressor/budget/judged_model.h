// The original model over a few windows, with other weights in some places: what KL that makes.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "compressor/model/decoder.h"
#include "compressor/torch.h"

namespace bitsmith {

// In float32, the whole model in memory. KL(original || changed), nats, mean over all positions but
// each window's last; with the original's own weights it is 0.
class JudgedModel {
 public:
  // windows [n, length] int64. Runs the original once; Error where its logits are not finite.
  JudgedModel(const std::shared_ptr<const ModelFiles>& files, const torch::Tensor& windows);

  Decoder& decoder() { return *decoder_; }
  // With these weights [out, in], by module, in block number `block`. Only blocks from there on
  // run: block numbers never fall from one call to the next.
  double kl_of_block(int64_t block, const std::map<std::string, torch::Tensor>& weights);
  // With this embedding or head [vocab, hidden]; of a tied model, both.
  double kl_of_outer(const std::string& module, const torch::Tensor& weight);

 private:
  torch::Tensor run_block(const torch::Tensor& x, int64_t block) const;
  // Through the blocks from `block` on to the final hidden states of scored positions.
  torch::Tensor scored_from(torch::Tensor x, int64_t block) const;

  std::unique_ptr<Decoder> decoder_;
  torch::Tensor windows_;
  RotaryTables rotary_;
  int64_t block_ = 0;
  torch::Tensor inputs_;  // of block_, in the original model
  // Of the original at scored positions: final hidden states [n, hidden], and their logits [n,
  // vocab], which no call need make again.
  torch::Tensor teacher_, teacher_logits_;
};

}  // namespace bitsmith
