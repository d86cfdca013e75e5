#include <immintrin.h>

#include "kernels/machine_limits.h"

namespace bitsmith {
namespace {

constexpr int kReadChains = 8, kChains = 12;  // independent, so that latency does not limit them

uint64_t read(const void* data, int64_t bytes) {
  const auto* p = static_cast<const __m256i*>(data);
  __m256i sum[kReadChains] = {};
  for (int64_t i = 0; i < bytes / static_cast<int64_t>(sizeof(*p)); i += kReadChains) {
    for (int k = 0; k < kReadChains; ++k) {
      sum[k] = _mm256_add_epi64(sum[k], _mm256_load_si256(p + i + k));
    }
  }
  for (int k = 1; k < kReadChains; ++k) sum[0] = _mm256_add_epi64(sum[0], sum[k]);
  alignas(64) uint64_t words[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(words), sum[0]);
  uint64_t total = 0;
  for (const uint64_t word : words) total += word;
  return total;
}

float multiply_add(int64_t rounds) {
  const __m256 factor = _mm256_set1_ps(0.999f), term = _mm256_set1_ps(0.001f);
  __m256 sum[kChains];
  for (int k = 0; k < kChains; ++k) sum[k] = _mm256_set1_ps(static_cast<float>(k));
  for (int64_t i = 0; i < rounds; ++i) {
    for (int k = 0; k < kChains; ++k) sum[k] = _mm256_fmadd_ps(sum[k], factor, term);
  }
  for (int k = 1; k < kChains; ++k) sum[0] = _mm256_add_ps(sum[0], sum[k]);
  return _mm256_cvtss_f32(sum[0]);
}

int32_t multiply_add_int8(int64_t rounds) {
  const __m256i factor = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
  __m256i sum[kChains];
  for (int k = 0; k < kChains; ++k) sum[k] = _mm256_set1_epi32(k);
  for (int64_t i = 0; i < rounds; ++i) {
    for (int k = 0; k < kChains; ++k) {
      const __m256i pairs = _mm256_maddubs_epi16(factor, sum[k]);
      sum[k] = _mm256_add_epi32(sum[k], _mm256_madd_epi16(pairs, ones));
    }
  }
  for (int k = 1; k < kChains; ++k) sum[0] = _mm256_add_epi32(sum[0], sum[k]);
  return _mm256_cvtsi256_si32(sum[0]);
}

}  // namespace

void fill_avx2(LimitKernels& kernels) {
  kernels = {read, multiply_add, 2 * 8 * kChains, multiply_add_int8, 2 * 32 * kChains};
}

}  // namespace bitsmith
