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
  SparseMatrix(const QuantizedTensor& tensor, const MatrixArrays& arrays) {
    out_features = tensor.out_features;
    in_features = tensor.in_features;
    const int64_t count = tensor.term<SparseSpec>().count;
    row_starts_ = arrays.indices<int64_t>(
        "sparse1.row_starts", out_features + 1, count + 1,
        [&](int64_t* to) { std::ranges::copy(read_sparse(tensor).row_starts, to); });
    columns_ = arrays.indices<int32_t>("sparse1.columns", count, in_features, [&](int32_t* to) {
      std::ranges::copy(read_sparse(tensor).columns, to);
    });
    values_ = arrays.get<float>("sparse1.values", count, [&](float* to) {
      std::ranges::copy(read_sparse(tensor).values, to);
    });
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
      out[columns_[i]] = values_[i];
    }
  }

  uint64_t bytes() const override {
    return row_starts_.bytes() + columns_.bytes() + values_.bytes();
  }
  std::string kernel() const override { return "sparse"; }

 private:
  int64_t begin(int64_t row) const { return row_starts_[row]; }
  // use(place in y, product).
  template <typename Use>
  void each_product(const float* x, int64_t tokens, ThreadPool& pool, const Use& use) const {
    run_ranges(pool, out_features, [&](int64_t first, int64_t count) {
      for (int64_t t = 0; t < tokens; ++t) {
        const float* inputs = x + t * in_features;
        for (int64_t row = first; row < first + count; ++row) {
          float sum = 0;
          for (int64_t i = begin(row); i < begin(row + 1); ++i) {
            sum += values_[i] * inputs[columns_[i]];
          }
          use(t * out_features + row, sum);
        }
      }
    });
  }

  Array<int64_t> row_starts_;  // [out_features + 1], where a row's values begin
  Array<int32_t> columns_;     // [count]
  Array<float> values_;        // [count]
};

// A part of `rows` x `columns` values as a matrix.
std::unique_ptr<WeightMatrix> dense_part(const QuantizedTensor& tensor, const MatrixArrays& arrays,
                                         const char* name, int64_t rows, int64_t columns) {
  return make_dense_matrix(
      rows, columns, /*as_bfloat16=*/false, arrays.inner(name),
      [&](int64_t first, int64_t count, std::span<float> out) {
        const TensorView& part = tensor.part(name);
        const auto row_bytes = static_cast<size_t>(byte_size(part.dtype, {columns}));
        decode_to_float(part.dtype,
                        part.bytes.subspan(static_cast<size_t>(first) * row_bytes,
                                           static_cast<size_t>(count) * row_bytes),
                        out);
      });
}

// left (right x): two thin products.
class LowRankMatrix final : public WeightMatrix {
 public:
  LowRankMatrix(const QuantizedTensor& tensor, const MatrixArrays& arrays) {
    out_features = tensor.out_features;
    in_features = tensor.in_features;
    const int64_t rank = tensor.term<LowRankSpec>().rank;
    left_ = dense_part(tensor, arrays, "low_rank_left", out_features, rank);
    right_ = dense_part(tensor, arrays, "low_rank_right", rank, in_features);
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
  std::string kernel() const override { return "low rank"; }

 private:
  std::unique_ptr<WeightMatrix> left_, right_;
  std::vector<float> inner_;  // [tokens, rank]
};

// Some whole rows; the others are zero.
class RowsMatrix final : public WeightMatrix {
 public:
  RowsMatrix(const QuantizedTensor& tensor, const MatrixArrays& arrays) {
    out_features = tensor.out_features;
    in_features = tensor.in_features;
    const int64_t count = tensor.term<RowsSpec>().count;
    rows_ = arrays.indices<int64_t>("rows1.rows", count, out_features, [&](int64_t* to) {
      std::ranges::copy(read_kept_rows(tensor), to);
    });
    values_ = dense_part(tensor, arrays, "kept_values", count, in_features);
  }

  void multiply(Products products, const float* x, int64_t tokens, float* y,
                ThreadPool& pool) override {
    std::fill_n(y, tokens * out_features, 0.0f);
    add_product(products, x, tokens, y, pool);
  }
  void add_product(Products products, const float* x, int64_t tokens, float* y,
                   ThreadPool& pool) override {
    kept_.resize(static_cast<size_t>(tokens * rows_.size()));
    values_->multiply(products, x, tokens, kept_.data(), pool);
    for (int64_t t = 0; t < tokens; ++t) {
      const float* kept = kept_.data() + t * rows_.size();
      for (int64_t i = 0; i < rows_.size(); ++i) y[t * out_features + rows_[i]] += kept[i];
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

  uint64_t bytes() const override { return values_->bytes() + rows_.bytes(); }
  std::string kernel() const override { return "rows"; }

 private:
  Array<int64_t> rows_;                   // ascending
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

  bool decodes_for_few() const override {
    return std::ranges::all_of(terms_, [](const auto& term) { return term->decodes_for_few(); });
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
  std::string kernel() const override {
    std::string names;
    for (const auto& term : terms_) names += (names.empty() ? "" : " + ") + term->kernel();
    return names;
  }

 private:
  std::vector<std::unique_ptr<WeightMatrix>> terms_;
};

}  // namespace

std::unique_ptr<WeightMatrix> make_matrix(const SparseSpec&, const QuantizedTensor& tensor,
                                          const MatrixArrays& arrays) {
  return std::make_unique<SparseMatrix>(tensor, arrays);
}

std::unique_ptr<WeightMatrix> make_matrix(const LowRankSpec&, const QuantizedTensor& tensor,
                                          const MatrixArrays& arrays) {
  return std::make_unique<LowRankMatrix>(tensor, arrays);
}

std::unique_ptr<WeightMatrix> make_matrix(const RowsSpec&, const QuantizedTensor& tensor,
                                          const MatrixArrays& arrays) {
  return std::make_unique<RowsMatrix>(tensor, arrays);
}

std::unique_ptr<WeightMatrix> make_sum_matrix(std::vector<std::unique_ptr<WeightMatrix>> terms) {
  BITSMITH_CHECK(!terms.empty());
  if (terms.size() == 1) return std::move(terms.front());
  return std::make_unique<SumMatrix>(std::move(terms));
}

}  // namespace bitsmith
