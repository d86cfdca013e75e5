#include "compressor/quantize/hessian.h"

#include <algorithm>
#include <numeric>

#include "compressor/quantize/inverse_factor.h"
#include "compressor/representation/parallel.h"

namespace bitsmith {

namespace {

torch::Tensor as_rows(const torch::Tensor& x, int64_t features) {
  return x.detach().reshape({-1, features}).to(torch::kFloat);
}

// sum += a^T b, a and b [n, in]; where they are the same the upper triangle only, in wide blocks.
// float32 products of a few thousand inputs at a time are exact enough; their sum is float64.
void add_products(const torch::Tensor& a, const torch::Tensor& b, torch::Tensor& sum) {
  const torch::NoGradGuard no_grad;
  constexpr int64_t kAtOnce = 4096, kBlock = 384;
  const bool symmetric = a.is_same(b);
  const int64_t in = a.size(1), step = symmetric ? kBlock : in;
  for (int64_t begin = 0; begin < a.size(0); begin += kAtOnce) {
    const int64_t count = std::min(kAtOnce, a.size(0) - begin);
    const auto x = a.narrow(0, begin, count), y = b.narrow(0, begin, count);
    for (int64_t row = 0; row < in; row += step) {
      const int64_t rows = std::min(step, in - row), first = symmetric ? row : 0;
      sum.narrow(0, row, rows)
          .narrow(1, first, in - first)
          .add_(torch::matmul(x.narrow(1, row, rows).t(), y.narrow(1, first, in - first))
                    .to(torch::kDouble));
    }
  }
}

torch::Tensor mean_of(const torch::Tensor& sum, int64_t count) {
  const double factor = count > 0 ? 2.0 / static_cast<double>(count) : 0.0;
  return (sum * factor).to(torch::kFloat);
}

// task(begin, count) for chunks of rows, each one thread's. A chunk of a tall matrix is larger: the
// other factor is packed anew for each.
template <typename Task>
void each_row_chunk(int64_t rows, const Task& task) {
  const int64_t chunk = std::clamp<int64_t>(rows / 16, 96, 256);
  parallel_tasks((rows + chunk - 1) / chunk, [&](int64_t i) {
    const torch::NoGradGuard no_grad;  // a thread's own flag
    task(i * chunk, std::min(chunk, rows - i * chunk));
  });
}

}  // namespace

HessianSum::HessianSum(int64_t in_features)
    : sum_(torch::zeros({in_features, in_features}, torch::kDouble)) {}

void HessianSum::add(const torch::Tensor& x) {
  const auto rows = as_rows(x, sum_.size(0));
  add_products(rows, rows, sum_);
  count_ += rows.size(0);
}

torch::Tensor HessianSum::hessian() const {
  const auto upper = mean_of(sum_, count_).triu();
  return upper + upper.triu(1).t();
}

CrossSum::CrossSum(int64_t in_features)
    : sum_(torch::zeros({in_features, in_features}, torch::kDouble)) {}

void CrossSum::add(const torch::Tensor& reference, const torch::Tensor& x) {
  const auto rows = as_rows(x, sum_.size(0));
  add_products(as_rows(reference, sum_.size(0)) - rows, rows, sum_);
  count_ += rows.size(0);
}

torch::Tensor CrossSum::cross() const { return mean_of(sum_, count_); }

torch::Tensor input_drift(const torch::Tensor& hessian, const torch::Tensor& cross,
                          double damping) {
  const auto factor = inverse_factor(hessian, damping);  // H^-1 = U^T U
  return row_chunked_matmul(row_chunked_matmul(cross, factor.t().contiguous()), factor);
}

torch::Tensor row_chunked_matmul(const torch::Tensor& a, const torch::Tensor& b) {
  auto product = torch::empty({a.size(0), b.size(1)}, a.options());
  each_row_chunk(a.size(0), [&](int64_t begin, int64_t count) {
    auto part = product.narrow(0, begin, count);
    at::mm_out(part, a.narrow(0, begin, count), b);
  });
  return product;
}

void row_chunked_subtract(const torch::Tensor& a, const torch::Tensor& b, const torch::Tensor& y) {
  each_row_chunk(a.size(0), [&](int64_t begin, int64_t count) {
    y.narrow(0, begin, count).addmm_(a.narrow(0, begin, count), b, 1, -1);
  });
}

torch::Tensor row_errors(const torch::Tensor& difference, const torch::Tensor& hessian,
                         bool exact) {
  constexpr int64_t kBlock = 384;
  const auto dtype = exact ? torch::kDouble : torch::kFloat;
  const auto h = hessian.defined() ? hessian.to(dtype) : hessian;
  auto errors = torch::empty({difference.size(0)}, torch::kDouble);
  each_row_chunk(difference.size(0), [&](int64_t begin, int64_t count) {
    const auto d = difference.narrow(0, begin, count).to(dtype);
    const auto sum = [](const torch::Tensor& products) {
      return products.sum(1, /*keepdim=*/false, torch::kDouble);
    };
    auto own = errors.narrow(0, begin, count);
    if (!h.defined()) {
      own.copy_(sum(d * d));
      return;
    }
    own.zero_();
    for (int64_t first = 0; first < d.size(1); first += kBlock) {  // H's blocks above its diagonal
      const int64_t width = std::min(kBlock, d.size(1) - first);
      const auto part = d.narrow(1, first, width), columns = h.narrow(1, first, width);
      auto product = at::mm(part, columns.narrow(0, first, width));
      product.addmm_(d.narrow(1, 0, first), columns.narrow(0, 0, first), 1, 2);
      own.add_(sum(product * part));
    }
  });
  return errors;
}

double quadratic_error(const torch::Tensor& difference, const torch::Tensor& hessian, bool exact) {
  const auto errors = row_errors(difference, hessian, exact);
  const auto* row = errors.const_data_ptr<double>();
  return std::accumulate(row, row + errors.numel(), 0.0);
}

}  // namespace bitsmith
