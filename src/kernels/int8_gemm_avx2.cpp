#include "kernels/int8_gemm_impl.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {
namespace {

struct Avx2 : Simd {
  static constexpr int64_t kTokens = 4;

  // |w| and w: the products want one factor without a sign.
  struct Weights {
    __m256i magnitudes, values;
  };
  static Weights load_weights(const int8_t* p) {
    const __m256i values = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm256_abs_epi8(values), values};
  }
  static __m256i start(int32_t) { return _mm256_setzero_si256(); }
  static __m256i add_products(__m256i dot, const Weights& w, __m256i inputs) {
    return add_byte_products(dot, w.magnitudes, _mm256_sign_epi8(inputs, w.values));
  }
};

void reorder(int8_t* codes, int64_t units, const uint8_t* order) {
  const __m256i from = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(order));
  const __m256i upper = _mm256_slli_epi16(from, 3);  // bit 4 as the sign
  for (int64_t u = 0; u < units; ++u, codes += kInt8Unit) {
    auto* unit = reinterpret_cast<__m256i*>(codes);
    const __m256i bytes = _mm256_loadu_si256(unit);
    const __m256i low = _mm256_permute2x128_si256(bytes, bytes, 0x00);
    const __m256i high = _mm256_permute2x128_si256(bytes, bytes, 0x11);
    _mm256_storeu_si256(unit, _mm256_blendv_epi8(_mm256_shuffle_epi8(low, from),
                                                 _mm256_shuffle_epi8(high, from), upper));
  }
}

}  // namespace

void fill_avx2(Int8GemmKernels& kernels) {
  kernels = {Int8Gemm<Avx2>::multiply, Int8Gemm<Avx2>::pack, reorder};
}

}  // namespace bitsmith
