#include "compressor/objective/half_noise.h"

#include <algorithm>

namespace bitsmith {
namespace {

double noise_share(double squared_difference, double squared_sum) {
  return squared_sum > 0 ? std::min(1.0, squared_difference / squared_sum) : 1.0;
}

}  // namespace

double shift_noise(const Objective& objective, const torch::Tensor& first,
                   const torch::Tensor& second) {
  const Objective centered = objective.centered();
  return noise_share(centered.error(first - second), centered.error(first + second));
}

double hessian_noise(const torch::Tensor& first, const torch::Tensor& second) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor sum = first + second;
  const torch::Tensor diagonal = sum.diagonal();
  // Inputs that are never active have no neighbors.
  const torch::Tensor scale =
      torch::where(diagonal > 0, diagonal.rsqrt(), torch::zeros_like(diagonal));
  const auto energy = [&](const torch::Tensor& matrix) {
    torch::Tensor correlations = matrix * scale * scale.unsqueeze(1);
    correlations.fill_diagonal_(0);
    return correlations.square_().sum(torch::kDouble).item<double>();
  };
  return noise_share(energy(first - second), energy(sum));
}

torch::Tensor shrunk_hessian(const torch::Tensor& hessian, double share) {
  torch::Tensor shrunk = hessian * (1 - share);
  shrunk.diagonal().copy_(hessian.diagonal());
  return shrunk;
}

}  // namespace bitsmith
