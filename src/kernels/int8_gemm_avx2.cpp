#include "kernels/int8_gemm_impl.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {
namespace {

struct Avx2 : Simd {
  static constexpr int64_t kTokens = 4;

  // |w| and w: vpmaddubsw wants one factor without a sign, and sums of two products within 16 bits:
  // 2 * 128 * 127 is.
  struct Weights {
    __m256i magnitudes, values;
  };
  static Weights load_weights(const int8_t* p) {
    const __m256i values = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm256_abs_epi8(values), values};
  }
  static __m256i start(int32_t) { return _mm256_setzero_si256(); }
  static __m256i add_products(__m256i dot, const Weights& w, __m256i inputs) {
    const __m256i pairs = _mm256_maddubs_epi16(w.magnitudes, _mm256_sign_epi8(inputs, w.values));
    return _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

}  // namespace

void fill_avx2(Int8GemmKernels& kernels) {
  kernels = {Int8Gemm<Avx2>::multiply, Int8Gemm<Avx2>::pack};
}

}  // namespace bitsmith
