#include "compressor/quantize/conjugate_gradients.h"

namespace bitsmith {
namespace {

// In one thread and float64: a sum that any number of threads gives.
double inner_product(const torch::Tensor& a, const torch::Tensor& b) {
  const auto* x = a.const_data_ptr<float>();
  const auto* y = b.const_data_ptr<float>();
  double sum = 0;
  for (int64_t i = 0; i < a.numel(); ++i) sum += double{x[i]} * y[i];
  return sum;
}

}  // namespace

torch::Tensor conjugate_gradients(const torch::Tensor& start, const torch::Tensor& residual,
                                  const LinearMap& apply, const LinearMap& precondition,
                                  int iterations) {
  auto solution = start.clone(), rest = residual.clone();
  auto direction = precondition(rest).contiguous();
  double strength = inner_product(rest, direction);
  const double first = strength;
  for (int i = 0; i < iterations && strength > 1e-10 * first && strength > 0; ++i) {
    const auto image = apply(direction).contiguous();
    const double curvature = inner_product(direction, image);
    if (!(curvature > 0)) break;
    const double step = strength / curvature;
    solution.add_(direction, step);
    rest.sub_(image, step);
    const auto next = precondition(rest).contiguous();
    const double next_strength = inner_product(rest, next);
    direction = next + direction * (next_strength / strength);
    strength = next_strength;
  }
  return solution;
}

}  // namespace bitsmith
