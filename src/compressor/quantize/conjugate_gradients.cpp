#include "compressor/quantize/conjugate_gradients.h"

#include <vector>

#include "compressor/parallel.h"

namespace bitsmith {
namespace {

// A residual's strength below this share of the first one's is rounding: float32 squared, times the
// 1e4 by which the preconditioners at most tell directions apart.
constexpr double kRounding = 1e-8;
// Where it grows so much in one step, rounding leads along directions that the objective hardly
// feels.
constexpr double kMostGrowth = 4;

double inner_product(const float* x, const float* y, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double{x[i]} * y[i];
  return sum;
}

}  // namespace

torch::Tensor conjugate_gradients(const torch::Tensor& start, const torch::Tensor& residual,
                                  const LinearMap& apply, const LinearMap& precondition,
                                  int iterations, int64_t systems) {
  const int64_t n = start.numel() / systems;  // of one system
  auto solution = start.clone(), rest = residual.clone();
  auto direction = precondition(rest).contiguous();
  auto* x = solution.mutable_data_ptr<float>();
  auto* r = rest.mutable_data_ptr<float>();
  auto* d = direction.mutable_data_ptr<float>();
  std::vector<double> strength(static_cast<size_t>(systems)), first(strength);
  parallel_tasks(
      systems, [&](int64_t s) { strength[s] = first[s] = inner_product(r + s * n, d + s * n, n); });
  for (int i = 0; i < iterations; ++i) {
    const auto image = apply(direction).contiguous();
    const auto* a = image.const_data_ptr<float>();
    parallel_tasks(systems, [&](int64_t s) {
      const double curvature = inner_product(d + s * n, a + s * n, n);
      if (!(curvature > 0)) strength[s] = 0;  // done: its direction becomes zero
      const auto step = static_cast<float>(strength[s] > 0 ? strength[s] / curvature : 0);
      for (int64_t k = s * n; k < (s + 1) * n; ++k) {
        x[k] += step * d[k];
        r[k] -= step * a[k];
      }
    });
    if (i + 1 == iterations) break;
    const auto preconditioned = precondition(rest).contiguous();
    const auto* next = preconditioned.const_data_ptr<float>();
    std::atomic<bool> going{false};
    parallel_tasks(systems, [&](int64_t s) {
      const double now = inner_product(r + s * n, next + s * n, n);
      const bool done =
          now > kMostGrowth * strength[s] || !(now > kRounding * first[s]) || strength[s] == 0;
      const auto share = static_cast<float>(done ? 0 : now / strength[s]);
      for (int64_t k = s * n; k < (s + 1) * n; ++k) d[k] = done ? 0 : next[k] + share * d[k];
      strength[s] = done ? 0 : now;
      if (!done) going = true;
    });
    if (!going) break;
  }
  return solution;
}

}  // namespace bitsmith
