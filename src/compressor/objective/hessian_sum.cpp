#include "compressor/objective/hessian_sum.h"

#include <algorithm>

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
  const int64_t in = a.size(1);
  for (int64_t begin = 0; begin < a.size(0); begin += kAtOnce) {
    const int64_t count = std::min(kAtOnce, a.size(0) - begin);
    const auto x = a.narrow(0, begin, count), y = b.narrow(0, begin, count);
    if (a.is_same(b)) {
      for (int64_t row = 0; row < in; row += kBlock) {
        const int64_t rows = std::min(kBlock, in - row);
        sum.narrow(0, row, rows)
            .narrow(1, row, in - row)
            .add_(torch::matmul(x.narrow(1, row, rows).t(), y.narrow(1, row, in - row))
                      .to(torch::kDouble));
      }
    } else {
      const auto product = torch::matmul(x.t(), y);
      each_row_chunk(in, [&](int64_t row, int64_t rows) {
        sum.narrow(0, row, rows).add_(product.narrow(0, row, rows).to(torch::kDouble));
      });
    }
  }
}

void add_ranks(torch::Tensor& sum, double& weight, Communicator& communicator) {
  communicator.sum(std::span(sum.data_ptr<double>(), static_cast<size_t>(sum.numel())));
  communicator.sum({&weight, 1});
}

torch::Tensor mean_of(const torch::Tensor& sum, double weight) {
  const double factor = weight > 0 ? 2.0 / weight : 0.0;
  auto mean = torch::empty(sum.sizes(), torch::kFloat);
  each_row_chunk(sum.size(0), [&](int64_t row, int64_t rows) {
    mean.narrow(0, row, rows).copy_(sum.narrow(0, row, rows) * factor);
  });
  return mean;
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
  auto hessian = mean_of(sum_, weight_);
  each_row_chunk(hessian.size(0), [&](int64_t row, int64_t rows) {  // to below the diagonal
    const int64_t next = row + rows, later = hessian.size(0) - next;
    const auto own = hessian.narrow(0, row, rows);
    auto diagonal = own.narrow(1, row, rows);
    diagonal.copy_(diagonal.triu() + diagonal.triu(1).t());
    hessian.narrow(0, next, later).narrow(1, row, rows).copy_(own.narrow(1, next, later).t());
  });
  return hessian;
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
  auto drift = cross.clone();
  make_input_drifts_(hessian, damping, {&drift, 1});
  return drift;
}

void make_input_drifts_(const torch::Tensor& hessian, double damping,
                        std::span<torch::Tensor> crosses) {
  const auto factor = inverse_factor(hessian, damping);  // H^-1 = U^T U
  const auto transposed = factor.t().contiguous();
  for (torch::Tensor& cross : crosses) {
    each_row_chunk(cross.size(0), [&](int64_t begin, int64_t count) {
      auto rows = cross.narrow(0, begin, count);
      rows.copy_(at::mm(at::mm(rows, transposed), factor));
    });
  }
}

}  // namespace bitsmith
