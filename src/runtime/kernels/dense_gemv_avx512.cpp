#include <immintrin.h>

#include "runtime/kernels/dense_gemv.h"

namespace bitsmith {
namespace {

__m512 load(const float* w, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, w); }
__m512 load(const uint16_t* w, __mmask16 mask) {
  const __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, w));
  return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
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
  constexpr __mmask16 kAll = 0xffff;
  __m512 even[R], odd[R];
  for (int r = 0; r < R; ++r) even[r] = odd[r] = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i + 32 <= in_features; i += 32) {
    const __m512 x0 = _mm512_loadu_ps(x + i), x1 = _mm512_loadu_ps(x + i + 16);
    for (int r = 0; r < R; ++r) {
      const T* row = w + r * in_features + i;
      prefetch<32>(row + R * in_features);
      even[r] = _mm512_fmadd_ps(load(row, kAll), x0, even[r]);
      odd[r] = _mm512_fmadd_ps(load(row + 16, kAll), x1, odd[r]);
    }
  }
  for (; i < in_features; i += 16) {
    const int64_t left = in_features - i;
    const __mmask16 mask = static_cast<__mmask16>(left < 16 ? (1u << left) - 1 : 0xffffu);
    const __m512 x0 = load(x + i, mask);
    for (int r = 0; r < R; ++r) {
      even[r] = _mm512_fmadd_ps(load(w + r * in_features + i, mask), x0, even[r]);
    }
  }
  for (int r = 0; r < R; ++r) y[r] = _mm512_reduce_add_ps(_mm512_add_ps(even[r], odd[r]));
}

template <typename T>
void gemv(const T* w, const float* x, int64_t rows, int64_t in_features, float* y) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) multiply_rows<4>(w + r * in_features, x, in_features, y + r);
  for (; r < rows; ++r) multiply_rows<1>(w + r * in_features, x, in_features, y + r);
}

}  // namespace

void fill_avx512(DenseGemvKernels& kernels) { kernels = {gemv<uint16_t>, gemv<float>}; }

}  // namespace bitsmith
