#include "compressor/objective/hessian_sum.h"

#include <algorithm>
#include <span>

#include "base/error.h"
#include "compressor/objective/inverse_factor.h"
#include "compressor/objective/row_products.h"

namespace bitsmith {

namespace {

torch::Tensor as_rows(const torch::Tensor& x, int64_t features) {
  return x.detach().reshape({-1, features}).to(torch::kFloat);
}

// [n, 1] float32 of n tokens.
torch::Tensor as_column(const torch::Tensor& weights, int64_t tokens) {
  BITSMITH_CHECK(weights.numel() == tokens);
  const auto column = weights.detach().reshape({-1, 1}).to(torch::kFloat);
  if (!(torch::isfinite(column) & (column >= 0)).all().item<bool>()) {
    throw Error("a weight of a token is negative or not finite");
  }
  return column;
}

// Rounded to float32: the weights of many such adds sum up without rounding, in any order.
float weight_of(const torch::Tensor& column) {
  return static_cast<float>(column.sum(torch::kDouble).item<double>());
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

void add_ranks(torch::Tensor& sum, double& weight, Communicator& communicator) {
  communicator.sum(std::span(sum.data_ptr<double>(), static_cast<size_t>(sum.numel())));
  communicator.sum({&weight, 1});
}

torch::Tensor mean_of(const torch::Tensor& sum, double weight) {
  const double factor = weight > 0 ? 2.0 / weight : 0.0;
  return (sum * factor).to(torch::kFloat);
}

}  // namespace

HessianSum::HessianSum(int64_t in_features)
    : sum_(torch::zeros({in_features, in_features}, torch::kDouble)) {}

void HessianSum::add(const torch::Tensor& x, const torch::Tensor& weights) {
  auto rows = as_rows(x, sum_.size(0));
  double weight = static_cast<double>(rows.size(0));
  if (weights.defined()) {
    const auto column = as_column(weights, rows.size(0));
    rows = rows * column.sqrt();
    weight = weight_of(column);
  }
  add_products(rows, rows, sum_);
  weight_ += weight;
}

void HessianSum::merge(const HessianSum& other) {
  sum_.add_(other.sum_);
  weight_ += other.weight_;
}

void HessianSum::merge_ranks(Communicator& communicator) { add_ranks(sum_, weight_, communicator); }

torch::Tensor HessianSum::hessian() const {
  const auto upper = mean_of(sum_, weight_).triu();
  return upper + upper.triu(1).t();
}

CrossSum::CrossSum(int64_t in_features)
    : sum_(torch::zeros({in_features, in_features}, torch::kDouble)) {}

void CrossSum::add(const torch::Tensor& original, const torch::Tensor& x,
                   const torch::Tensor& weights) {
  const auto rows = as_rows(x, sum_.size(0));
  auto moved = as_rows(original, sum_.size(0)) - rows;
  double weight = static_cast<double>(rows.size(0));
  if (weights.defined()) {
    const auto column = as_column(weights, rows.size(0));
    moved = moved * column;
    weight = weight_of(column);
  }
  add_products(moved, rows, sum_);
  weight_ += weight;
}

void CrossSum::merge(const CrossSum& other) {
  sum_.add_(other.sum_);
  weight_ += other.weight_;
}

void CrossSum::merge_ranks(Communicator& communicator) { add_ranks(sum_, weight_, communicator); }

torch::Tensor CrossSum::cross() const { return mean_of(sum_, weight_); }

torch::Tensor input_drift(const torch::Tensor& hessian, const torch::Tensor& cross,
                          double damping) {
  const auto factor = inverse_factor(hessian, damping);  // H^-1 = U^T U
  return row_chunked_matmul(row_chunked_matmul(cross, factor.t().contiguous()), factor);
}

}  // namespace bitsmith
