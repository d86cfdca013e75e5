#include "compressor/quantize/hessian.h"

#include <algorithm>

#include "compressor/representation/parallel.h"

namespace bitsmith {

HessianSum::HessianSum(int64_t in_features)
    : sum_(torch::zeros({in_features, in_features}, torch::kDouble)) {}

void HessianSum::add(const torch::Tensor& x) {
  const torch::NoGradGuard no_grad;
  const auto rows = x.detach().reshape({-1, sum_.size(0)}).to(torch::kFloat);
  // float32 products of a few thousand inputs at a time are exact enough; their sum is float64.
  constexpr int64_t kAtOnce = 4096;
  for (int64_t begin = 0; begin < rows.size(0); begin += kAtOnce) {
    const auto some = rows.narrow(0, begin, std::min(kAtOnce, rows.size(0) - begin));
    sum_.add_(torch::matmul(some.t(), some).to(torch::kDouble));
  }
  count_ += rows.size(0);
}

torch::Tensor HessianSum::hessian() const {
  const double factor = count_ > 0 ? 2.0 / static_cast<double>(count_) : 0.0;
  return (sum_ * factor).to(torch::kFloat);
}

torch::Tensor row_chunked_matmul(const torch::Tensor& a, const torch::Tensor& b) {
  constexpr int64_t kRows = 96;
  auto product = torch::empty({a.size(0), b.size(1)}, a.options());
  parallel_tasks((a.size(0) + kRows - 1) / kRows, [&](int64_t task) {
    const torch::NoGradGuard no_grad;  // a thread's own flag
    const int64_t begin = task * kRows, count = std::min(kRows, a.size(0) - begin);
    auto part = product.narrow(0, begin, count);
    at::mm_out(part, a.narrow(0, begin, count), b);
  });
  return product;
}

double quadratic_error(const torch::Tensor& difference, const torch::Tensor& hessian, bool exact) {
  const torch::NoGradGuard no_grad;
  const auto d = exact ? difference.to(torch::kDouble) : difference;
  const auto product = hessian.defined() ? row_chunked_matmul(d, hessian.to(d.scalar_type())) : d;
  // Row sums first: each is one thread's work, whatever the number of threads.
  return (product * d).sum(1, /*keepdim=*/false, torch::kDouble).sum().item<double>();
}

}  // namespace bitsmith
