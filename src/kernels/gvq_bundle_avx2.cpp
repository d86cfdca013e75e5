#include "kernels/gvq_bundle_avx2_impl.h"

namespace bitsmith {
namespace {

struct Avx2 {
  static constexpr int kBias = 0;
  static __m256i start(int32_t) { return _mm256_setzero_si256(); }
  static __m256i add_products(__m256i dot, __m256i values, __m256i inputs) {
    return Simd::add_byte_products(dot, _mm256_abs_epi8(values), _mm256_sign_epi8(inputs, values));
  }
};

}  // namespace

void fill_avx2(GvqBundleKernels& kernels) { kernels = gvq_bundle_kernels<Avx2>(); }

}  // namespace bitsmith
