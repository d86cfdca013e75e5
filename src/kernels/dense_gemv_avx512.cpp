#include <immintrin.h>

#include "kernels/dense_gemv_impl.h"

namespace bitsmith {
namespace {

struct Avx512 {
  static constexpr int64_t kLanes = 16;
  using Floats = __m512;

  static __m512 zeros() { return _mm512_setzero_ps(); }
  static __m512 load(const float* p, int64_t count = kLanes) {
    return _mm512_maskz_loadu_ps(first_lanes(count), p);
  }
  static __m512 load(const uint16_t* p, int64_t count = kLanes) {  // bfloat16
    const __m256i bits = _mm256_maskz_loadu_epi16(first_lanes(count), p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  static __m512 add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
  static __m512 multiply_add(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
  static float sum_lanes(__m512 v) { return _mm512_reduce_add_ps(v); }

 private:
  static __mmask16 first_lanes(int64_t count) { return static_cast<__mmask16>((1u << count) - 1); }
};

}  // namespace

void fill_avx512(DenseGemvKernels& kernels) {
  kernels = {DenseKernel<Avx512>::gemv<uint16_t>, DenseKernel<Avx512>::gemv<float>};
}

}  // namespace bitsmith
