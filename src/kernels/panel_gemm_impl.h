// The kernels over an instruction set's registers; included once by each set's file, everything in
// an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include <cstddef>
#include <utility>

#include "kernels/panel_gemm.h"

namespace bitsmith {
namespace {

// I: the registers. A tile is kTokens tokens times two registers of rows.
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
  static constexpr int64_t kRows = 2 * I::kLanes;  // of a tile

  // The first `tokens` of T tokens.
  template <int T>
  static void multiply_tokens(int64_t tokens, const float* panel, int64_t rows, const float* x,
                              int64_t in_features, float* y, int64_t y_stride) {
    if constexpr (T > 1) {
      if (tokens < T) {
        return multiply_tokens<T - 1>(tokens, panel, rows, x, in_features, y, y_stride);
      }
    }
    multiply_tile(std::make_integer_sequence<int, T>(), panel, rows, x, in_features, y, y_stride);
  }

  // Tokens t... times kRows rows of a panel, of which the first `rows` are wanted. Written without
  // loops over tokens, for which compilers keep the sums in memory.
  template <int... t>
  static void multiply_tile(std::integer_sequence<int, t...>, const float* panel, int64_t rows,
                            const float* x, int64_t in_features, float* y, int64_t y_stride) {
    Floats low[] = {(static_cast<void>(t), I::zeros())...};
    Floats high[] = {(static_cast<void>(t), I::zeros())...};
    for (int64_t i = 0; i < in_features; ++i, panel += kPanelRows) {
      const Floats w0 = I::load(panel), w1 = I::load(panel + I::kLanes);
      const auto add = [&](float input, Floats& sum0, Floats& sum1) {
        const Floats in = I::broadcast(input);
        sum0 = I::multiply_add(w0, in, sum0);
        sum1 = I::multiply_add(w1, in, sum1);
      };
      (add(x[t * in_features + i], low[t], high[t]), ...);
    }
    if (rows >= kRows) {
      ((I::store(y + t * y_stride, low[t]), I::store(y + t * y_stride + I::kLanes, high[t])), ...);
      return;
    }
    const auto store = [&](float* to, Floats sum0, Floats sum1) {
      float all[kRows];
      I::store(all, sum0);
      I::store(all + I::kLanes, sum1);
      __builtin_memcpy(to, all, sizeof(float) * static_cast<size_t>(rows));
    };
    (store(y + t * y_stride, low[t], high[t]), ...);
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
