#include "compressor/objective/input_sums.h"

#include "base/error.h"
#include "compressor/objective/half_noise.h"

namespace bitsmith {

InputSums::InputSums(int64_t in_features, bool with_cross, bool in_halves)
    : in_features_(in_features) {
  for (int half = 0; half < (in_halves ? 2 : 1); ++half) {
    parts_.push_back({HessianSum(in_features), {}});
    if (with_cross) parts_.back().cross.emplace(in_features);
  }
}

void InputSums::add(const torch::Tensor& x, const torch::Tensor& original,
                    const torch::Tensor& weights, int64_t in_first_half) {
  const auto add_to = [](Part& part, const torch::Tensor& own, const torch::Tensor& of_original,
                         const torch::Tensor& of_tokens) {
    part.hessian.add(own, of_tokens);
    if (part.cross) part.cross->add(of_original, own, of_tokens);
  };
  if (parts_.size() == 1) return add_to(parts_[0], x, original, weights);
  const int64_t tokens = x.numel() / in_features_;
  BITSMITH_CHECK(in_first_half >= 0 && in_first_half <= tokens);
  for (const bool second : {false, true}) {
    const int64_t begin = second ? in_first_half : 0;
    const int64_t count = second ? tokens - in_first_half : in_first_half;
    const auto rows = [&](const torch::Tensor& values, int64_t features) {
      return values.defined() ? values.reshape({tokens, features}).narrow(0, begin, count) : values;
    };
    if (count > 0)
      add_to(parts_[second], rows(x, in_features_), rows(original, in_features_), rows(weights, 1));
  }
}

void InputSums::merge_ranks(Communicator& communicator) {
  for (Part& part : parts_) {
    part.hessian.merge_ranks(communicator);
    if (part.cross) part.cross->merge_ranks(communicator);
  }
}

torch::Tensor InputSums::mean(const torch::Tensor& first, torch::Tensor second) const {
  const double a = parts_[0].hessian.weight(), b = parts_[1].hessian.weight();
  if (!(a + b > 0)) return second;  // zeros, both
  return second.mul_(b / (a + b)).add_(first * (a / (a + b)));
}

torch::Tensor InputSums::hessian() const {
  const torch::Tensor first = parts_[0].hessian.hessian();
  return parts_.size() == 1 ? first : mean(first, parts_[1].hessian.hessian());
}

double InputSums::shrinkage() const {
  BITSMITH_CHECK(parts_.size() == 2);
  return hessian_noise(parts_[0].hessian.hessian(), parts_[1].hessian.hessian());
}

InputDrift InputSums::drift(const torch::Tensor& hessian, double damping) && {
  std::vector<torch::Tensor> drifts;  // first the crosses
  for (Part& part : parts_) {
    part.hessian.release();
    if (!part.cross) return {};
    drifts.push_back(part.cross->cross());
    part.cross.reset();
  }
  if (drifts.size() == 2) drifts.push_back(mean(drifts[0], drifts[1].clone()));
  make_input_drifts_(hessian, damping, drifts);
  if (drifts.size() == 1) return {drifts[0], {}, {}};
  return {drifts[2], drifts[0], drifts[1]};
}

}  // namespace bitsmith
