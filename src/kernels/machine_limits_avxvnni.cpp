#include "kernels/machine_limits.h"
#include "kernels/simd_avxvnni.h"

namespace bitsmith {
namespace {

constexpr int kChains = 12;  // independent, so that latency does not limit them

int32_t multiply_add_int8(int64_t rounds) {
  const __m256i factor = _mm256_set1_epi8(3);
  __m256i sum[kChains];
  for (int k = 0; k < kChains; ++k) sum[k] = _mm256_set1_epi32(k);
  for (int64_t i = 0; i < rounds; ++i) {
    for (int k = 0; k < kChains; ++k) {
      sum[k] = SimdVnni::add_byte_products(sum[k], factor, factor);
    }
  }
  for (int k = 1; k < kChains; ++k) sum[0] = _mm256_add_epi32(sum[0], sum[k]);
  return _mm256_cvtsi256_si32(sum[0]);
}

}  // namespace

void fill_avxvnni(LimitKernels& kernels) {
  kernels.multiply_add_int8 = multiply_add_int8;
  kernels.int8_operations = 2 * 32 * kChains;
}

}  // namespace bitsmith
