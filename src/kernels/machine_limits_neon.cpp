#include <arm_neon.h>

#include "kernels/machine_limits.h"

namespace bitsmith {
namespace {

constexpr int kReadChains = 8, kChains = 16;  // independent, so that latency does not limit them

uint64_t read(const void* data, int64_t bytes) {
  const auto* p = static_cast<const uint64_t*>(data);
  uint64x2_t sum[kReadChains] = {};
  for (int64_t i = 0; i < bytes / static_cast<int64_t>(sizeof(*p)); i += 2 * kReadChains) {
    for (int k = 0; k < kReadChains; ++k) sum[k] = vaddq_u64(sum[k], vld1q_u64(p + i + 2 * k));
  }
  for (int k = 1; k < kReadChains; ++k) sum[0] = vaddq_u64(sum[0], sum[k]);
  return vaddvq_u64(sum[0]);
}

float multiply_add(int64_t rounds) {
  const float32x4_t factor = vdupq_n_f32(0.999f), term = vdupq_n_f32(0.001f);
  float32x4_t sum[kChains];
  for (int k = 0; k < kChains; ++k) sum[k] = vdupq_n_f32(static_cast<float>(k));
  for (int64_t i = 0; i < rounds; ++i) {
    for (int k = 0; k < kChains; ++k) sum[k] = vfmaq_f32(sum[k], factor, term);
  }
  for (int k = 1; k < kChains; ++k) sum[0] = vaddq_f32(sum[0], sum[k]);
  return vaddvq_f32(sum[0]);
}

int32_t multiply_add_int8(int64_t rounds) {
  const int8x16_t factor = vdupq_n_s8(3);
  int32x4_t sum[kChains];
  for (int k = 0; k < kChains; ++k) sum[k] = vdupq_n_s32(k);
  for (int64_t i = 0; i < rounds; ++i) {
    for (int k = 0; k < kChains; ++k) sum[k] = vdotq_s32(sum[k], factor, factor);
  }
  for (int k = 1; k < kChains; ++k) sum[0] = vaddq_s32(sum[0], sum[k]);
  return vaddvq_s32(sum[0]);
}

}  // namespace

void fill_neon(LimitKernels& kernels) {
  kernels = {read, multiply_add, 2 * 4 * kChains, multiply_add_int8, 2 * 16 * kChains};
}

}  // namespace bitsmith
