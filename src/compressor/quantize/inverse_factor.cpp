#include "compressor/quantize/inverse_factor.h"

#include <ATen/ops/linalg_cholesky_ex.h>

#include <algorithm>

#include "base/error.h"
#include "compressor/representation/parallel.h"

namespace bitsmith {
namespace {

torch::Tensor factorise(torch::Tensor h, double damping) {
  const auto diagonal = h.diagonal();
  const double mean = diagonal.mean().item<double>();
  diagonal.masked_fill_(diagonal <= 0, 1.0);
  double total = damping * mean;
  diagonal.add_(total);
  for (int attempt = 0; attempt < 40; ++attempt) {
    const auto [lower, info] = at::linalg_cholesky_ex(h);
    if (info.item<int>() == 0) {
      const auto inverse = torch::cholesky_inverse(lower);
      const auto [upper, inverse_info] = at::linalg_cholesky_ex(inverse, /*upper=*/true);
      const bool usable =
          inverse_info.item<int>() == 0 && torch::isfinite(upper).all().item<bool>();
      if (usable) return upper.to(torch::kFloat);
    }
    const double more = std::max(total, 1e-8 * mean);
    diagonal.add_(more);
    total += more;
  }
  throw Error(
      "the Hessian is not positive definite even with its diagonal raised; it is not a sum of "
      "x x^T");
}

}  // namespace

torch::Tensor inverse_factor(const torch::Tensor& hessian, double damping) {
  torch::Tensor factor;
  // On one thread: LAPACK's rounding depends on the number of threads, and codes hang on it.
  parallel_tasks(1, [&](int64_t) {
    const torch::NoGradGuard no_grad;
    factor = factorise(hessian.to(torch::kDouble, /*non_blocking=*/false, /*copy=*/true), damping);
  });
  return factor;
}

}  // namespace bitsmith
