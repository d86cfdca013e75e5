// Rotary position embedding. The same inputs give the same bits at every level. Included by files
// of an instruction set: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

// The heads of one position, [heads, head_dim]: of each the pairs (i, half + i), i < half, turn by
// the angle of (cos[i], sin[i]), and all numbers are multiplied by `scale`. 2 half <= head_dim;
// what lies beyond 2 half is not turned.
struct RopeCall {
  const float* cos;  // [half]
  const float* sin;  // [half]
  int64_t heads, head_dim, half;
  float sign = 1;  // -1 turns back
  float scale = 1;
};

struct RopeKernels {
  // y may be x.
  void (*f32)(const RopeCall& call, const float* x, float* y);
  void (*bf16)(const RopeCall& call, const uint16_t* x, uint16_t* y);
};

void fill_scalar(RopeKernels& kernels);
void fill_avx2(RopeKernels& kernels);
void fill_avx512(RopeKernels& kernels);
void fill_neon(RopeKernels& kernels);

}  // namespace bitsmith
