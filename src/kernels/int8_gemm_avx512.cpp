#include "kernels/int8_gemm_impl.h"
#include "kernels/simd_avx512.h"

namespace bitsmith {
namespace {

struct Avx512 : Simd {
  static constexpr int64_t kTokens = 8;

  // vpdpbusd wants one factor without a sign: the weights are 128 more, which start() takes off.
  static __m512i load_weights(const int8_t* p) {
    return _mm512_xor_si512(_mm512_load_si512(p), _mm512_set1_epi8(-128));
  }
  static __m512i start(int32_t input_sum) { return _mm512_set1_epi32(-128 * input_sum); }
  static __m512i add_products(__m512i dot, __m512i weights, __m512i inputs) {
    return _mm512_dpbusd_epi32(dot, weights, inputs);
  }
};

void reorder(int8_t* codes, int64_t units, const uint8_t* order) {
  const __m256i from = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(order));
  for (int64_t u = 0; u < units; ++u, codes += kInt8Unit) {
    auto* unit = reinterpret_cast<__m256i*>(codes);
    _mm256_storeu_si256(unit, _mm256_permutexvar_epi8(from, _mm256_loadu_si256(unit)));
  }
}

}  // namespace

void fill_avx512(Int8GemmKernels& kernels) {
  kernels = {Int8Gemm<Avx512>::multiply, Int8Gemm<Avx512>::pack, reorder};
}

}  // namespace bitsmith
