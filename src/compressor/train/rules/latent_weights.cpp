#include "compressor/train/rules/latent_weights.h"

#include "compressor/train/step_times.h"

namespace bitsmith {

LatentWeights::LatentWeights(const CodedTerm& term, const LatentOptions& options,
                             const RuleSetup& setup)
    : length_(setup.distance * options.rate), decay_(options.decay), adam_(setup.adam) {
  const torch::NoGradGuard no_grad;
  const auto start = term.dequantize();
  latent_ = setup.memory->zeros(start.sizes(), torch::kFloat32);
  latent_.copy_(start);
  moments_.memory = setup.memory;
}

torch::Tensor LatentWeights::step(const torch::Tensor& gradient, const RunPosition& at) {
  const torch::NoGradGuard no_grad;
  const TimedPart timed(StepPart::kOptimizer);
  const auto direction = moments_.direction(gradient, at.step, adam_);
  latent_.sub_(direction, length_ * at.rate);
  return direction;
}

void LatentWeights::forget(const CodedTerm& term, const torch::Tensor& changed) {
  if (decay_ == 0) return;
  const torch::NoGradGuard no_grad;
  latent_.lerp_(term.dequantize(), decay_);
  moments_.shrink_momentum(changed, term.code_group_size(), 1 - decay_);
}

void LatentWeights::visit(const std::string& name, const StateVisitor& visitor) {
  visitor(name + ".latent", latent_);
  moments_.visit(name, visitor);
}

}  // namespace bitsmith
