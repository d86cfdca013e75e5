#include <algorithm>
#include <vector>

#include "base/half.h"
#include "runtime/matrices/panel_matrix.h"

namespace bitsmith {
namespace {

template <typename T>  // float or bfloat16 bits
class DenseMatrix final : public PanelMatrix {
 public:
  DenseMatrix(int64_t out, int64_t in, const MatrixArrays& arrays, const ReadRows& read_rows)
      : PanelMatrix(out, in) {
    weights_ = arrays.get<T>(sizeof(T) == 2 ? kDenseBfloat16 : kDenseFloat32, out * in,
                             [&](T* weights) { narrow_rows(read_rows, weights); });
  }

  void decode_row(int64_t row, float* out) const override {
    for (int64_t i = 0; i < in_features; ++i) out[i] = widen(weights_[row * in_features + i]);
  }

  uint64_t bytes() const override { return weights_.bytes(); }
  std::string kernel() const override {
    return sizeof(T) == 2 ? "dense bfloat16" : "dense float32";
  }

 protected:
  bool multiply_one(const float* x, float* y, ThreadPool& pool) override {
    return multiply_single(x, 1, y, pool);
  }

  bool multiply_single(const float* x, int64_t tokens, float* y, ThreadPool& pool) override {
    // Rows that come from memory once for all tokens.
    constexpr int64_t kBytes = 64 << 10;
    const int64_t row_bytes = std::max<int64_t>(1, in_features * int64_t{sizeof(T)});
    const int64_t at_once = tokens == 1 ? out_features : std::max<int64_t>(1, kBytes / row_bytes);
    run_ranges(pool, out_features, [&](int64_t first, int64_t count) {
      const int64_t end = first + count;
      for (int64_t row = first, rows = 0; row < end; row += rows) {
        rows = std::min(at_once, end - row);
        for (int64_t t = 0; t < tokens; ++t)
          multiply_rows(row, rows, x + t * in_features, y + t * out_features + row);
      }
    });
    return true;
  }

  std::optional<Int8Blocks> int8_blocks() const override { return std::nullopt; }

  void decode_panel(int64_t p, float* panel) const override {
    const int64_t row = p * kPanelRows, rows = std::min(kPanelRows, out_features - row);
    const T* w = weights_.data() + row * in_features;
    if constexpr (sizeof(T) == 2) {
      kernels().gemm.pack_bf16(w, rows, in_features, panel);
    } else {
      kernels().gemm.pack_f32(w, rows, in_features, panel);
    }
  }

 private:
  void multiply_rows(int64_t first, int64_t count, const float* x, float* y) const {
    const T* w = weights_.data() + first * in_features;
    if constexpr (sizeof(T) == 2) {
      kernels().dense.bf16(w, x, count, in_features, y);
    } else {
      kernels().dense.f32(w, x, count, in_features, y);
    }
  }

  void narrow_rows(const ReadRows& read_rows, T* weights) const {
    constexpr int64_t kFloats = 1 << 20;  // read this many at a time
    const int64_t in = in_features, out = out_features;
    const int64_t step = std::clamp<int64_t>(kFloats / std::max<int64_t>(in, 1), 1, out);
    std::vector<float> rows(static_cast<size_t>(step * in));
    for (int64_t first = 0; first < out; first += step) {
      const int64_t count = std::min(step, out - first), values = count * in;
      read_rows(first, count, std::span(rows).first(static_cast<size_t>(values)));
      std::transform(rows.begin(), rows.begin() + values, weights + first * in, narrow);
    }
  }
  static T narrow(float value) {
    if constexpr (sizeof(T) == 2) {
      return float_to_bf16(value);
    } else {
      return value;
    }
  }
  static float widen(T value) {
    if constexpr (sizeof(T) == 2) {
      return bf16_to_float(value);
    } else {
      return value;
    }
  }

  Array<T> weights_;  // [out_features, in_features]
};

}  // namespace

std::unique_ptr<WeightMatrix> make_dense_matrix(int64_t out_features, int64_t in_features,
                                                bool as_bfloat16, const MatrixArrays& arrays,
                                                const ReadRows& read_rows) {
  if (as_bfloat16) {
    return std::make_unique<DenseMatrix<uint16_t>>(out_features, in_features, arrays, read_rows);
  }
  return std::make_unique<DenseMatrix<float>>(out_features, in_features, arrays, read_rows);
}

}  // namespace bitsmith
