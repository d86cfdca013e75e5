#include <immintrin.h>

#include "kernels/dense_gemv_impl.h"

namespace bitsmith {
namespace {

struct Avx2 {
  static constexpr int64_t kLanes = 8;
  using Floats = __m256;

  static __m256 zeros() { return _mm256_setzero_ps(); }
  static __m256 load(const float* p) { return _mm256_loadu_ps(p); }
  static __m256 load(const uint16_t* p) {  // bfloat16
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  template <typename T>
  static __m256 load(const T* p, int64_t count) {
    T padded[kLanes] = {};
    __builtin_memcpy(padded, p, sizeof(T) * static_cast<size_t>(count));
    return load(padded);
  }
  static __m256 add(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
  static __m256 multiply_add(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
  static float sum_lanes(__m256 v) {
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
  }
};

}  // namespace

void fill_avx2(DenseGemvKernels& kernels) {
  kernels = {DenseKernel<Avx2>::gemv<uint16_t>, DenseKernel<Avx2>::gemv<float>};
}

}  // namespace bitsmith
