#include "kernels/gvq_bundle_avx2_impl.h"
#include "kernels/simd_avxvnni.h"

namespace bitsmith {
namespace {

struct AvxVnni {
  static constexpr int kBias = 128;
  // What the values' 128 will add too much.
  static __m256i start(int32_t input_sum) { return _mm256_set1_epi32(-128 * input_sum); }
  static __m256i add_products(__m256i dot, __m256i values, __m256i inputs) {
    return SimdVnni::add_byte_products(dot, values, inputs);
  }
};

}  // namespace

void fill_avxvnni(GvqBundleKernels& kernels) { kernels = gvq_bundle_kernels<AvxVnni>(); }

}  // namespace bitsmith
