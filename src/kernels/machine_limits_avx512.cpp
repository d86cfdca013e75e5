#include <immintrin.h>

#include "kernels/machine_limits.h"

namespace bitsmith {
namespace {

constexpr int kReadChains = 8, kChains = 12;  // independent, so that latency does not limit them

uint64_t read(const void* data, int64_t bytes) {
  const auto* p = static_cast<const __m512i*>(data);
  __m512i sum[kReadChains] = {};
  for (int64_t i = 0; i < bytes / static_cast<int64_t>(sizeof(*p)); i += kReadChains) {
    for (int k = 0; k < kReadChains; ++k) {
      sum[k] = _mm512_add_epi64(sum[k], _mm512_load_si512(p + i + k));
    }
  }
  for (int k = 1; k < kReadChains; ++k) sum[0] = _mm512_add_epi64(sum[0], sum[k]);
  alignas(64) uint64_t words[8];
  _mm512_store_si512(reinterpret_cast<__m512i*>(words), sum[0]);
  uint64_t total = 0;
  for (const uint64_t word : words) total += word;
  return total;
}

float multiply_add(int64_t rounds) {
  const __m512 factor = _mm512_set1_ps(0.999f), term = _mm512_set1_ps(0.001f);
  __m512 sum[kChains];
  for (int k = 0; k < kChains; ++k) sum[k] = _mm512_set1_ps(static_cast<float>(k));
  for (int64_t i = 0; i < rounds; ++i) {
    for (int k = 0; k < kChains; ++k) sum[k] = _mm512_fmadd_ps(sum[k], factor, term);
  }
  for (int k = 1; k < kChains; ++k) sum[0] = _mm512_add_ps(sum[0], sum[k]);
  return _mm512_cvtss_f32(sum[0]);
}

int32_t multiply_add_int8(int64_t rounds) {
  const __m512i factor = _mm512_set1_epi8(3);
  __m512i sum[kChains];
  for (int k = 0; k < kChains; ++k) sum[k] = _mm512_set1_epi32(k);
  for (int64_t i = 0; i < rounds; ++i) {
    for (int k = 0; k < kChains; ++k) sum[k] = _mm512_dpbusd_epi32(sum[k], factor, factor);
  }
  for (int k = 1; k < kChains; ++k) sum[0] = _mm512_add_epi32(sum[0], sum[k]);
  return _mm_cvtsi128_si32(_mm512_castsi512_si128(sum[0]));
}

}  // namespace

void fill_avx512(LimitKernels& kernels) {
  kernels = {read, multiply_add, 2 * 16 * kChains, multiply_add_int8, 2 * 64 * kChains};
}

}  // namespace bitsmith
