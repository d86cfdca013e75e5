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

}  // namespace

void fill_avx512(Int8GemmKernels& kernels) {
  kernels = {Int8Gemm<Avx512>::multiply, Int8Gemm<Avx512>::pack};
}

}  // namespace bitsmith
