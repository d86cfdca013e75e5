// The kernels over an instruction set's registers; included once by each set's file, everything in
// an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include "kernels/panel_gemm.h"

namespace bitsmith {
namespace {

// I: the registers. A tile is kTokens tokens times kVectors registers of rows: as many sums as the
// registers hold.
template <typename I>
class PanelGemm {
 public:
  static void multiply(const float* panels, int64_t rows, const float* x, int64_t tokens,
                       int64_t in_features, float* y, int64_t y_stride) {
    for (int64_t t = 0; t < tokens; t += I::kTokens) {
      for (int64_t r = 0; r < rows; r += kRows) {
        const float* panel = panels + r / kPanelRows * kPanelRows * in_features + r % kPanelRows;
        multiply_tokens<I::kTokens>(tokens - t, panel, rows - r, x + t * in_features, in_features,
                                    y + t * y_stride + r, y_stride);
      }
    }
  }

  template <typename T>  // float, or uint16_t: bfloat16
  static void pack(const T* w, int64_t rows, int64_t in_features, float* panel) {
    int64_t i = 0;
    for (; i + I::kLanes <= in_features; i += I::kLanes) {
      for (int64_t r = 0; r < kPanelRows; r += I::kLanes) {
        Floats square[I::kLanes];
        for (int k = 0; k < I::kLanes; ++k) {
          square[k] = r + k < rows ? load(w + (r + k) * in_features + i) : I::zeros();
        }
        I::transpose(square, panel + i * kPanelRows + r, kPanelRows);
      }
    }
    for (; i < in_features; ++i) {
      for (int64_t r = 0; r < kPanelRows; ++r) {
        panel[i * kPanelRows + r] = r < rows ? widen(w[r * in_features + i]) : 0.0f;
      }
    }
  }

 private:
  using Floats = typename I::Floats;
  static constexpr int64_t kRows = I::kVectors * I::kLanes;  // of a tile

  // The first `tokens` of T tokens.
  template <int T>
  static void multiply_tokens(int64_t tokens, const float* panel, int64_t rows, const float* x,
                              int64_t in_features, float* y, int64_t y_stride) {
    if constexpr (T > 1) {
      if (tokens < T) {
        return multiply_tokens<T - 1>(tokens, panel, rows, x, in_features, y, y_stride);
      }
    }
    multiply_tile<T>(panel, rows, x, in_features, y, y_stride);
  }

  // T tokens times kRows rows of a panel, of which the first `rows` are wanted.
  template <int T>
  static void multiply_tile(const float* panel, int64_t rows, const float* x, int64_t in_features,
                            float* y, int64_t y_stride) {
    Floats sum[T][I::kVectors];
    for (int t = 0; t < T; ++t) {
      for (int v = 0; v < I::kVectors; ++v) sum[t][v] = I::zeros();
    }
    for (int64_t i = 0; i < in_features; ++i) {
      Floats w[I::kVectors];
      for (int v = 0; v < I::kVectors; ++v) w[v] = I::load(panel + i * kPanelRows + v * I::kLanes);
      for (int t = 0; t < T; ++t) {
        const Floats in = I::broadcast(x[t * in_features + i]);
        for (int v = 0; v < I::kVectors; ++v) sum[t][v] = I::multiply_add(w[v], in, sum[t][v]);
      }
    }
    for (int t = 0; t < T; ++t) {
      for (int v = 0; v < I::kVectors; ++v) {
        float* to = y + t * y_stride + v * I::kLanes;
        const int64_t left = rows - v * I::kLanes;
        if (left >= I::kLanes) {
          I::store(to, sum[t][v]);
        } else if (left > 0) {
          I::store_first(to, sum[t][v], left);
        }
      }
    }
  }

  static Floats load(const float* w) { return I::load(w); }
  static Floats load(const uint16_t* w) { return I::load_bf16(w); }
  static float widen(float w) { return w; }
  static float widen(uint16_t w) {
    const uint32_t bits = uint32_t{w} << 16;
    float value;
    __builtin_memcpy(&value, &bits, sizeof(value));
    return value;
  }
};

template <typename I>
PanelGemmKernels make_panel_gemm() {
  using Kernel = PanelGemm<I>;
  return {Kernel::multiply, Kernel::template pack<float>, Kernel::template pack<uint16_t>};
}

}  // namespace
}  // namespace bitsmith
