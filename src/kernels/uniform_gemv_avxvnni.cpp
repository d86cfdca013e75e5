#include "kernels/simd_avxvnni.h"
#include "kernels/uniform_gemv_avx2_impl.h"

namespace bitsmith {
namespace {

struct AvxVnni : Avx2Codes {
  template <int B>
  static constexpr int32_t kOffset = 0;  // dot() takes codes as they are

  // Codes of vectors V .. V + N - 1 times their inputs, added to sums.
  template <int B, int V, int N>
  static __m256i dot(const uint8_t* unit, const int8_t* x, __m256i sums = _mm256_setzero_si256()) {
    if constexpr (N == 0) {
      return sums;
    } else {
      sums = SimdVnni::add_byte_products(sums, load_codes<AvxVnni, B, V>(unit), four_inputs<V>(x));
      return dot<B, V + 1, N - 1>(unit, x, sums);
    }
  }
};

}  // namespace

void fill_avxvnni(UniformGemvKernels& kernels) { kernels.gemv = UniformKernel<AvxVnni>::gemv; }

}  // namespace bitsmith
