#include <immintrin.h>

#include "kernels/panel_gemm.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {
namespace {

constexpr int64_t kTokens = 6;  // 6 tokens x 2 vectors of rows = 12 of the 16 registers
constexpr int64_t kRows = 16;   // half a panel

// T tokens times 16 rows of a panel, of which the first `rows` are wanted.
template <int T>
void multiply_tile(const float* panel, int64_t rows, const float* x, int64_t in_features, float* y,
                   int64_t y_stride) {
  __m256 sum[T][2];
  for (int t = 0; t < T; ++t) sum[t][0] = sum[t][1] = _mm256_setzero_ps();
  for (int64_t i = 0; i < in_features; ++i) {
    const __m256 w0 = _mm256_load_ps(panel + i * kPanelRows);
    const __m256 w1 = _mm256_load_ps(panel + i * kPanelRows + 8);
    for (int t = 0; t < T; ++t) {
      const __m256 in = _mm256_broadcast_ss(x + t * in_features + i);
      sum[t][0] = _mm256_fmadd_ps(w0, in, sum[t][0]);
      sum[t][1] = _mm256_fmadd_ps(w1, in, sum[t][1]);
    }
  }
  for (int t = 0; t < T; ++t) {
    if (rows >= kRows) {
      _mm256_storeu_ps(y + t * y_stride, sum[t][0]);
      _mm256_storeu_ps(y + t * y_stride + 8, sum[t][1]);
    } else {
      alignas(32) float all[kRows];
      _mm256_store_ps(all, sum[t][0]);
      _mm256_store_ps(all + 8, sum[t][1]);
      for (int64_t r = 0; r < rows; ++r) y[t * y_stride + r] = all[r];
    }
  }
}

using MultiplyTile = void (*)(const float*, int64_t, const float*, int64_t, float*, int64_t);
constexpr MultiplyTile kMultiplyTile[kTokens + 1] = {
    nullptr,          multiply_tile<1>, multiply_tile<2>, multiply_tile<3>,
    multiply_tile<4>, multiply_tile<5>, multiply_tile<6>};

void multiply(const float* panels, int64_t rows, const float* x, int64_t tokens,
              int64_t in_features, float* y, int64_t y_stride) {
  for (int64_t t = 0; t < tokens; t += kTokens) {
    const int64_t count = tokens - t < kTokens ? tokens - t : kTokens;
    for (int64_t r = 0; r < rows; r += kRows) {
      const float* panel = panels + r / kPanelRows * kPanelRows * in_features + r % kPanelRows;
      kMultiplyTile[count](panel, rows - r, x + t * in_features, in_features, y + t * y_stride + r,
                           y_stride);
    }
  }
}

__m256 load(const float* w) { return _mm256_loadu_ps(w); }
__m256 load(const uint16_t* w) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

float widen(float w) { return w; }
float widen(uint16_t w) { return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(w << 16))); }

template <typename T>
void pack(const T* w, int64_t rows, int64_t in_features, float* panel) {
  int64_t i = 0;
  for (; i + 8 <= in_features; i += 8) {
    for (int64_t r = 0; r < kPanelRows; r += 8) {
      __m256 square[8];
      for (int k = 0; k < 8; ++k) {
        square[k] = r + k < rows ? load(w + (r + k) * in_features + i) : _mm256_setzero_ps();
      }
      Simd::transpose(square, panel + i * kPanelRows + r, kPanelRows);
    }
  }
  for (; i < in_features; ++i) {
    for (int64_t r = 0; r < kPanelRows; ++r) {
      panel[i * kPanelRows + r] = r < rows ? widen(w[r * in_features + i]) : 0.0f;
    }
  }
}

}  // namespace

void fill_avx2(PanelGemmKernels& kernels) { kernels = {multiply, pack<float>, pack<uint16_t>}; }

}  // namespace bitsmith
