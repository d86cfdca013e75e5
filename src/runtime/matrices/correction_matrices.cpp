// Terms without codes, and sums of terms.
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "runtime/matrices/matrices.h"
#include "runtime/matrices/panel_matrix.h"

namespace bitsmith {
namespace {

// Few values at places of their own, row by row.
class SparseMatrix final : public WeightMatrix {
 public:
  explicit SparseMatrix(const QuantizedTensor& tensor) : entries_(read_sparse(tensor)) {
    out_features = tensor.out_features;
    in_features = tensor.in_features;
  }

  void multiply(Products, const float* x, int64_t tokens, float* y, ThreadPool& pool) override {
    each_product(x, tokens, pool, [&](int64_t at, float product) { y[at] = product; });
  }
  void add_product(Products, const float* x, int64_t tokens, float* y, ThreadPool& pool) override {
    each_product(x, tokens, pool, [&](int64_t at, float product) { y[at] += product; });
  }

  void decode_row(int64_t row, float* out) const override {
    std::fill_n(out, in_features, 0.0f);
    for (int64_t i = begin(row); i < begin(row + 1); ++i) {
      out[entries_.columns[i]] = entries_.values[i];
    }
  }

  uint64_t bytes() const override {
    return entries_.row_starts.size() * sizeof(int64_t) +
           entries_.columns.size() * (sizeof(int32_t) + sizeof(float));
  }

 private:
  int64_t begin(int64_t row) const { return entries_.row_starts[static_cast<size_t>(row)]; }
  // use(place in y, product).
  template <typename Use>
  void each_product(const float* x, int64_t tokens, ThreadPool& pool, const Use& use) const {
    run_ranges(pool, out_features, [&](int64_t first, int64_t count) {
      for (int64_t t = 0; t < tokens; ++t) {
        const float* inputs = x + t * in_features;
        for (int64_t row = first; row < first + count; ++row) {
          float sum = 0;
          for (int64_t i = begin(row); i < begin(row + 1); ++i) {
            sum += entries_.values[i] * inputs[entries_.columns[i]];
          }
          use(t * out_features + row, sum);
        }
      }
    });
  }

  SparseEntries entries_;
};

std::unique_ptr<WeightMatrix> dense_part(const QuantizedTensor& tensor, const char* name) {
  const TensorView& part = tensor.part(name);
  const int64_t columns = part.shape[1];
  std::vector<float> values(static_cast<size_t>(element_count(part.shape)));
  decode_to_float(part.dtype, part.bytes, values);
  return make_dense_matrix(part.shape[0], columns, /*as_bfloat16=*/false,
                           [&](int64_t first, int64_t count, std::span<float> out) {
                             std::copy_n(values.begin() + first * columns, count * columns,
                                         out.begin());
                           });
}

// left (right x): two thin products.
class LowRankMatrix final : public WeightMatrix {
 public:
  explicit LowRankMatrix(const QuantizedTensor& tensor)
      : left_(dense_part(tensor, "low_rank_left")), right_(dense_part(tensor, "low_rank_right")) {
    out_features = tensor.out_features;
    in_features = tensor.in_features;
  }

  void multiply(Products products, const float* x, int64_t tokens, float* y,
                ThreadPool& pool) override {
    inner_.resize(static_cast<size_t>(tokens * right_->out_features));
    right_->multiply(products, x, tokens, inner_.data(), pool);
    left_->multiply(products, inner_.data(), tokens, y, pool);
  }

  void decode_row(int64_t row, float* out) const override {
    const int64_t rank = right_->out_features;
    std::vector<float> weights(static_cast<size_t>(rank));
    std::vector<float> values(static_cast<size_t>(in_features));
    left_->decode_row(row, weights.data());
    std::fill_n(out, in_features, 0.0f);
    for (int64_t k = 0; k < rank; ++k) {
      right_->decode_row(k, values.data());
      for (int64_t i = 0; i < in_features; ++i) out[i] += weights[k] * values[i];
    }
  }

  uint64_t bytes() const override { return left_->bytes() + right_->bytes(); }

 private:
  std::unique_ptr<WeightMatrix> left_, right_;
  std::vector<float> inner_;  // [tokens, rank]
};

// Some whole rows; the others are zero.
class RowsMatrix final : public WeightMatrix {
 public:
  explicit RowsMatrix(const QuantizedTensor& tensor)
      : rows_(read_kept_rows(tensor)), values_(dense_part(tensor, "kept_values")) {
    out_features = tensor.out_features;
    in_features = tensor.in_features;
  }

  void multiply(Products products, const float* x, int64_t tokens, float* y,
                ThreadPool& pool) override {
    std::fill_n(y, tokens * out_features, 0.0f);
    add_product(products, x, tokens, y, pool);
  }
  void add_product(Products products, const float* x, int64_t tokens, float* y,
                   ThreadPool& pool) override {
    kept_.resize(static_cast<size_t>(tokens) * rows_.size());
    values_->multiply(products, x, tokens, kept_.data(), pool);
    for (int64_t t = 0; t < tokens; ++t) {
      const float* kept = kept_.data() + t * std::ssize(rows_);
      for (size_t i = 0; i < rows_.size(); ++i) y[t * out_features + rows_[i]] += kept[i];
    }
  }

  void decode_row(int64_t row, float* out) const override {
    const auto found = std::lower_bound(rows_.begin(), rows_.end(), row);
    if (found == rows_.end() || *found != row) {
      std::fill_n(out, in_features, 0.0f);
    } else {
      values_->decode_row(found - rows_.begin(), out);
    }
  }

  uint64_t bytes() const override { return values_->bytes() + rows_.size() * sizeof(int64_t); }

 private:
  std::vector<int64_t> rows_;             // ascending
  std::unique_ptr<WeightMatrix> values_;  // [rows, in_features]
  std::vector<float> kept_;               // [tokens, rows]
};

class SumMatrix final : public WeightMatrix {
 public:
  explicit SumMatrix(std::vector<std::unique_ptr<WeightMatrix>> terms) : terms_(std::move(terms)) {
    out_features = terms_.front()->out_features;
    in_features = terms_.front()->in_features;
  }

  void multiply(Products products, const float* x, int64_t tokens, float* y,
                ThreadPool& pool) override {
    terms_.front()->multiply(products, x, tokens, y, pool);
    for (size_t t = 1; t < terms_.size(); ++t) terms_[t]->add_product(products, x, tokens, y, pool);
  }

  void decode_row(int64_t row, float* out) const override {
    terms_.front()->decode_row(row, out);
    std::vector<float> values(static_cast<size_t>(in_features));
    for (size_t t = 1; t < terms_.size(); ++t) {
      terms_[t]->decode_row(row, values.data());
      for (int64_t i = 0; i < in_features; ++i) out[i] += values[static_cast<size_t>(i)];
    }
  }

  uint64_t bytes() const override {
    uint64_t sum = 0;
    for (const auto& term : terms_) sum += term->bytes();
    return sum;
  }

 private:
  std::vector<std::unique_ptr<WeightMatrix>> terms_;
};

}  // namespace

std::unique_ptr<WeightMatrix> make_matrix(const SparseSpec&, const QuantizedTensor& tensor) {
  return std::make_unique<SparseMatrix>(tensor);
}

std::unique_ptr<WeightMatrix> make_matrix(const LowRankSpec&, const QuantizedTensor& tensor) {
  return std::make_unique<LowRankMatrix>(tensor);
}

std::unique_ptr<WeightMatrix> make_matrix(const RowsSpec&, const QuantizedTensor& tensor) {
  return std::make_unique<RowsMatrix>(tensor);
}

std::unique_ptr<WeightMatrix> make_sum_matrix(std::vector<std::unique_ptr<WeightMatrix>> terms) {
  BITSMITH_CHECK(!terms.empty());
  if (terms.size() == 1) return std::move(terms.front());
  return std::make_unique<SumMatrix>(std::move(terms));
}

}  // namespace bitsmith
