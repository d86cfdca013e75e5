#include <immintrin.h>

#include "runtime/kernels/dense_gemv.h"

namespace bitsmith {
namespace {

__m256 load(const float* w) { return _mm256_loadu_ps(w); }
__m256 load(const uint16_t* w) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

float widen(float w) { return w; }
float widen(uint16_t w) { return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(w << 16))); }

float sum_lanes(__m256 v) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

// The R rows after these are R short streams more than the processor follows by itself. `Count`
// elements from p on.
template <int Count, typename T>
void prefetch(const T* p) {
  const char* bytes = reinterpret_cast<const char*>(p);
  _mm_prefetch(bytes, _MM_HINT_T0);
  if constexpr (Count * sizeof(T) > 64) _mm_prefetch(bytes + 64, _MM_HINT_T0);
}

// R rows at a time share the loads of x; the order of each row's sum is the same for every R.
template <int R, typename T>
void multiply_rows(const T* w, const float* x, int64_t in_features, float* y) {
  __m256 even[R], odd[R];
  for (int r = 0; r < R; ++r) even[r] = odd[r] = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 16 <= in_features; i += 16) {
    const __m256 x0 = _mm256_loadu_ps(x + i), x1 = _mm256_loadu_ps(x + i + 8);
    for (int r = 0; r < R; ++r) {
      const T* row = w + r * in_features + i;
      prefetch<16>(row + R * in_features);
      even[r] = _mm256_fmadd_ps(load(row), x0, even[r]);
      odd[r] = _mm256_fmadd_ps(load(row + 8), x1, odd[r]);
    }
  }
  for (int r = 0; r < R; ++r) {
    float sum = sum_lanes(_mm256_add_ps(even[r], odd[r]));
    for (int64_t k = i; k < in_features; ++k) sum += widen(w[r * in_features + k]) * x[k];
    y[r] = sum;
  }
}

template <typename T>
void gemv(const T* w, const float* x, int64_t rows, int64_t in_features, float* y) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) multiply_rows<4>(w + r * in_features, x, in_features, y + r);
  for (; r < rows; ++r) multiply_rows<1>(w + r * in_features, x, in_features, y + r);
}

}  // namespace

void fill_avx2(DenseGemvKernels& kernels) { kernels = {gemv<uint16_t>, gemv<float>}; }

}  // namespace bitsmith
