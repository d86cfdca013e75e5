#include "compressor/train/rules/latent_weights.h"

namespace bitsmith {

LatentWeights::LatentWeights(const CodedTerm& term, const LatentOptions& options,
                             const RuleSetup& setup)
    : latent_(term.dequantize().detach().clone()),
      length_(setup.distance * options.rate),
      decay_(options.decay),
      adam_(setup.adam) {}

torch::Tensor LatentWeights::step(const torch::Tensor& gradient, const RunPosition& at) {
  const torch::NoGradGuard no_grad;
  const auto direction = moments_.direction(gradient, at.step, torch::kBFloat16, adam_);
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
