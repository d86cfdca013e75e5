#include "kernels/machine_limits.h"

namespace bitsmith {
namespace {

constexpr int kChains = 8;  // independent, so that latency does not limit them

uint64_t read(const void* data, int64_t bytes) {
  const auto* words = static_cast<const uint64_t*>(data);
  uint64_t sum[kChains] = {};
  for (int64_t i = 0; i < bytes / 8; i += kChains) {
    for (int k = 0; k < kChains; ++k) sum[k] += words[i + k];
  }
  uint64_t total = 0;
  for (const uint64_t s : sum) total += s;
  return total;
}

float multiply_add(int64_t rounds) {
  float sum[kChains] = {1, 2, 3, 4, 5, 6, 7, 8};
  for (int64_t i = 0; i < rounds; ++i) {
    for (float& s : sum) s = s * 0.999f + 0.001f;
  }
  float total = 0;
  for (const float s : sum) total += s;
  return total;
}

int32_t multiply_add_int8(int64_t rounds) {
  uint32_t sum[kChains] = {1, 2, 3, 4, 5, 6, 7, 8};
  for (int64_t i = 0; i < rounds; ++i) {
    for (uint32_t& s : sum) s += static_cast<uint32_t>(77 * static_cast<int8_t>(s));
  }
  uint32_t total = 0;
  for (const uint32_t s : sum) total += s;
  return static_cast<int32_t>(total);
}

}  // namespace

void fill_scalar(LimitKernels& kernels) {
  kernels = {read, multiply_add, 2 * kChains, multiply_add_int8, 2 * kChains};
}

}  // namespace bitsmith
