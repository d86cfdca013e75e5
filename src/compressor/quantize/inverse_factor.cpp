#include "compressor/quantize/inverse_factor.h"

#include <ATen/ops/linalg_cholesky_ex.h>

#include <algorithm>

#include "base/error.h"

namespace bitsmith {

torch::Tensor inverse_factor(const torch::Tensor& hessian, double damping) {
  auto h = hessian.to(torch::kDouble);
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
      "the Hessian is not positive definite even with its diagonal raised; it is not a sum "
      "of x x^T");
}

}  // namespace bitsmith
