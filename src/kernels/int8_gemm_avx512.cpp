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

// Bytes by a permutation of 16-bit words and a choice of their halves.
void reorder(int8_t* codes, int64_t units, const uint8_t* order) {
  const __m512i from =
      _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(order)));
  const __m512i word = _mm512_srli_epi16(from, 1);
  const __m512i shift = _mm512_slli_epi16(_mm512_and_si512(from, _mm512_set1_epi16(1)), 3);
  for (int64_t u = 0; u < units; ++u, codes += kInt8Unit) {
    auto* unit = reinterpret_cast<__m256i*>(codes);
    const __m512i words = _mm512_castsi256_si512(_mm256_loadu_si256(unit));
    const __m512i bytes = _mm512_srlv_epi16(_mm512_permutexvar_epi16(word, words), shift);
    _mm256_storeu_si256(unit, _mm512_cvtepi16_epi8(bytes));
  }
}

}  // namespace

void fill_avx512(Int8GemmKernels& kernels) {
  kernels = {Int8Gemm<Avx512>::multiply, Int8Gemm<Avx512>::pack, reorder};
}

}  // namespace bitsmith
