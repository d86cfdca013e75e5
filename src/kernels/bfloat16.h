// Conversions between rows of float32 and bfloat16 (as uint16_t). Included by files of an
// instruction set: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

struct BFloat16Kernels {
  void (*widen)(const uint16_t* in, int64_t count, float* out);
  // To nearest even; NaN becomes a quiet NaN.
  void (*narrow)(const float* in, int64_t count, uint16_t* out);
  // sum += in.
  void (*accumulate)(const uint16_t* in, int64_t count, float* sum);
};

void fill_scalar(BFloat16Kernels& kernels);
void fill_avx2(BFloat16Kernels& kernels);
void fill_avx512(BFloat16Kernels& kernels);
void fill_neon(BFloat16Kernels& kernels);

}  // namespace bitsmith
