#include <immintrin.h>

#include "kernels/panel_gemm.h"

namespace bitsmith {
namespace {

constexpr int64_t kTokens = 12;  // 12 tokens x 2 vectors of rows = 24 of the 32 registers

// T tokens times one panel, the first `rows` of its 32 rows.
template <int T>
void multiply_tile(const float* panel, int64_t rows, const float* x, int64_t in_features, float* y,
                   int64_t y_stride) {
  __m512 sum[T][2];
  for (int t = 0; t < T; ++t) sum[t][0] = sum[t][1] = _mm512_setzero_ps();
  for (int64_t i = 0; i < in_features; ++i) {
    const __m512 w0 = _mm512_load_ps(panel + i * kPanelRows);
    const __m512 w1 = _mm512_load_ps(panel + i * kPanelRows + 16);
    for (int t = 0; t < T; ++t) {
      const __m512 in = _mm512_set1_ps(x[t * in_features + i]);
      sum[t][0] = _mm512_fmadd_ps(w0, in, sum[t][0]);
      sum[t][1] = _mm512_fmadd_ps(w1, in, sum[t][1]);
    }
  }
  const uint32_t mask = rows < 32 ? (1u << rows) - 1 : 0xffffffffu;
  for (int t = 0; t < T; ++t) {
    _mm512_mask_storeu_ps(y + t * y_stride, static_cast<__mmask16>(mask), sum[t][0]);
    _mm512_mask_storeu_ps(y + t * y_stride + 16, static_cast<__mmask16>(mask >> 16), sum[t][1]);
  }
}

using MultiplyTile = void (*)(const float*, int64_t, const float*, int64_t, float*, int64_t);
constexpr MultiplyTile kMultiplyTile[kTokens + 1] = {
    nullptr,           multiply_tile<1>,  multiply_tile<2>, multiply_tile<3>, multiply_tile<4>,
    multiply_tile<5>,  multiply_tile<6>,  multiply_tile<7>, multiply_tile<8>, multiply_tile<9>,
    multiply_tile<10>, multiply_tile<11>, multiply_tile<12>};

void multiply(const float* panels, int64_t rows, const float* x, int64_t tokens,
              int64_t in_features, float* y, int64_t y_stride) {
  for (int64_t t = 0; t < tokens; t += kTokens) {
    const int64_t count = tokens - t < kTokens ? tokens - t : kTokens;
    for (int64_t r = 0; r < rows; r += kPanelRows) {
      kMultiplyTile[count](panels + r * in_features, rows - r, x + t * in_features, in_features,
                           y + t * y_stride + r, y_stride);
    }
  }
}

}  // namespace

void fill_avx512(PanelGemmKernels& kernels) { kernels.multiply = multiply; }

}  // namespace bitsmith
