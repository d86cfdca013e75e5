#include "kernels/int8_gemm_impl.h"
#include "kernels/simd_avxvnni.h"

namespace bitsmith {
namespace {

struct AvxVnni : SimdVnni {
  static constexpr int64_t kTokens = 4;

  // vpdpbusd wants one factor without a sign: the weights are 128 more, which start() takes off.
  static __m256i load_weights(const int8_t* p) {
    const __m256i values = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
    return _mm256_xor_si256(values, _mm256_set1_epi8(-128));
  }
  static __m256i start(int32_t input_sum) { return _mm256_set1_epi32(-128 * input_sum); }
  static __m256i add_products(__m256i dot, __m256i weights, __m256i inputs) {
    return add_byte_products(dot, weights, inputs);
  }
};

}  // namespace

void fill_avxvnni(Int8GemmKernels& kernels) { kernels.multiply = Int8Gemm<AvxVnni>::multiply; }

}  // namespace bitsmith
