#include "compressor/objective/inverse_factor.h"

#include <ATen/ops/linalg_cholesky_ex.h>

#include <algorithm>

#include "base/error.h"
#include "compressor/parallel.h"

namespace bitsmith {
namespace {

// Blocks and chunks of fixed sizes, each the work of one thread: LAPACK's own rounding depends on
// the number of threads, and codes hang on it.
constexpr int64_t kBlock = 192, kChunk = 96;

// task(begin, count) for chunks of [first, last).
template <typename Task>
void each_chunk(int64_t first, int64_t last, const Task& task) {
  parallel_tasks((last - first + kChunk - 1) / kChunk, [&](int64_t i) {
    const torch::NoGradGuard no_grad;  // a thread's own flag
    const int64_t begin = first + i * kChunk;
    task(begin, std::min(kChunk, last - begin));
  });
}

torch::Tensor part(const torch::Tensor& a, int64_t row, int64_t rows, int64_t column,
                   int64_t columns) {
  return a.narrow(0, row, rows).narrow(1, column, columns);
}

// The inverse of a small lower triangular matrix.
torch::Tensor small_inverse(const torch::Tensor& lower) {
  torch::Tensor inverse;
  parallel_tasks(1, [&](int64_t) {
    const torch::NoGradGuard no_grad;
    inverse = at::linalg_solve_triangular(lower, torch::eye(lower.size(0), lower.options()),
                                          /*upper=*/false);
  });
  return inverse;
}

// a = L L^T, L in the lower triangle of a afterwards; false when a is not positive definite.
bool cholesky(torch::Tensor& a) {
  const int64_t n = a.size(0);
  for (int64_t k = 0; k < n; k += kBlock) {
    const int64_t b = std::min(kBlock, n - k), next = k + b;
    auto diagonal = part(a, k, b, k, b);
    bool positive = false;
    parallel_tasks(1, [&](int64_t) {
      const torch::NoGradGuard no_grad;
      const auto [lower, info] = at::linalg_cholesky_ex(diagonal);
      positive = info.item<int>() == 0;
      diagonal.copy_(lower);
    });
    if (!positive) return false;
    if (next == n) break;
    const auto inverse = small_inverse(diagonal.contiguous()).t().contiguous();
    each_chunk(next, n, [&](int64_t row, int64_t rows) {
      auto below = part(a, row, rows, k, b);
      below.copy_(at::mm(below, inverse));
    });
    each_chunk(next, n, [&](int64_t row, int64_t rows) {  // the lower triangle of what is left
      auto left = part(a, row, rows, next, row + rows - next);
      left.addmm_(part(a, row, rows, k, b), part(a, next, row + rows - next, k, b).t(), 1, -1);
    });
  }
  return true;
}

}  // namespace

// Block of rows after block of rows: what lies above is inverted already, and nothing below is
// read.
void invert_lower_(torch::Tensor& lower) {
  const torch::NoGradGuard no_grad;
  const int64_t n = lower.size(0);
  for (int64_t k = 0; k < n; k += kBlock) {
    const int64_t b = std::min(kBlock, n - k);
    const auto left = part(lower, k, b, 0, k).clone();  // contiguous() keeps a single row's memory
    const auto own = small_inverse(part(lower, k, b, k, b).tril());
    part(lower, k, b, k, b).copy_(own);
    // Left of the diagonal: - own L[k, j..k] X[j..k, j].
    each_chunk(0, k, [&](int64_t column, int64_t columns) {
      const auto product = at::mm(left.narrow(1, column, k - column),
                                  part(lower, column, k - column, column, columns));
      part(lower, k, b, column, columns).copy_(at::mm(own, product).neg_());
    });
  }
  lower.tril_();
}

// With both axes reversed a lower factor becomes an upper one: J H J = L L^T gives H = R R^T with
// R = J L J, and H^-1 = U^T U with U = R^-1 = J L^-1 J. No inverse of H is formed; one float64
// matrix becomes L, then L^-1.
torch::Tensor inverse_factor(const torch::Tensor& hessian, double damping) {
  const torch::NoGradGuard no_grad;
  const double mean = hessian.diagonal().mean(torch::kDouble).item<double>();
  double added = damping * mean;
  for (int attempt = 0; attempt < 40; ++attempt) {
    auto lower = hessian.flip({0, 1}).to(torch::kDouble).contiguous();
    const auto diagonal = lower.diagonal();
    diagonal.masked_fill_(diagonal <= 0, 1.0).add_(added);
    if (cholesky(lower)) {
      invert_lower_(lower);
      const auto upper = lower.to(torch::kFloat).flip({0, 1}).contiguous();
      if (torch::isfinite(upper).all().item<bool>()) return upper;
    }
    added += std::max(added, 1e-8 * mean);
  }
  throw Error(
      "the Hessian is not positive definite even with its diagonal raised; it is not a sum of "
      "x x^T");
}

}  // namespace bitsmith
