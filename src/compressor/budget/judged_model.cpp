#include "compressor/budget/judged_model.h"

#include <utility>
#include <vector>

#include "base/error.h"
#include "compressor/quantize_model/block_stream.h"
#include "compressor/quantize_model/streamed_kl.h"

namespace bitsmith {

JudgedModel::JudgedModel(const std::shared_ptr<const ModelFiles>& files,
                         const torch::Tensor& windows)
    : decoder_(Decoder::load(files, torch::kFloat32)),
      windows_(windows),
      rotary_(decoder_->rotary(windows.size(1))),
      inputs_(decoder_->embed(windows)),
      teacher_(scored_from(inputs_, 0)),
      teacher_logits_(kept_logits(teacher_, decoder_->head())) {
  if (!torch::isfinite(teacher_logits_.sum()).item<bool>())
    throw Error("the original's logits are not finite: its activations overflow");
}

double JudgedModel::kl_of_block(int64_t block,
                                const std::map<std::string, torch::Tensor>& weights) {
  BITSMITH_CHECK(block >= block_);
  for (; block_ < block; ++block_) inputs_ = run_block(inputs_, block_);
  std::vector<std::pair<Linear*, torch::Tensor>> originals;
  for (Linear* linear : decoder_->blocks()[static_cast<size_t>(block)]->linears()) {
    const auto found = weights.find(linear->name);
    if (found == weights.end()) continue;
    originals.emplace_back(linear, linear->weight);
    linear->weight = found->second;
  }
  const torch::Tensor student = scored_from(inputs_, block);
  for (auto& [linear, weight] : originals) linear->weight = weight;
  return mean_kl(teacher_logits_, student, decoder_->head());
}

double JudgedModel::kl_of_outer(const std::string& module, const torch::Tensor& weight) {
  const ModelPlan& plan = decoder_->plan();
  torch::Tensor student = teacher_;
  OutputHead head = decoder_->head();
  if (module == plan.embedding.name)
    student = scored_from(decoder_->embed_with(weight, windows_), 0);
  if (plan.tied || module == plan.head.name) head.weight = weight;
  return mean_kl(teacher_logits_, student, head);
}

torch::Tensor JudgedModel::run_block(const torch::Tensor& x, int64_t block) const {
  constexpr int64_t kTokensAtOnce = 4096;
  const Block& own = *decoder_->blocks()[static_cast<size_t>(block)];
  torch::Tensor outputs = torch::empty_like(x);
  each_window_chunk(
      x, kTokensAtOnce, [](double) {},
      [&](int64_t first, int64_t count) {
        outputs.narrow(0, first, count)
            .copy_(decoder_->run_block(own, x.narrow(0, first, count), rotary_));
      });
  return outputs;
}

torch::Tensor JudgedModel::scored_from(torch::Tensor x, int64_t block) const {
  for (; block < decoder_->plan().num_blocks(); ++block) x = run_block(x, block);
  return scored_states(decoder_->final_norm(x));
}

}  // namespace bitsmith
