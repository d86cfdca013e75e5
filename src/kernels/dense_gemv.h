// Dense matrix times one vector. Included by files of an instruction set: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

struct DenseGemvKernels {
  // y[r] = sum_i w[r, i] * x[i] for r in [0, rows). w is row-major without padding; any alignment.
  // Products and sums in float32, each row's independent of its neighbors: the error against
  // exact arithmetic is at most in_features / 2 * 2^-24 * sum_i |w x|.
  void (*bf16)(const uint16_t* w, const float* x, int64_t rows, int64_t in_features, float* y);
  void (*f32)(const float* w, const float* x, int64_t rows, int64_t in_features, float* y);
};

void fill_scalar(DenseGemvKernels& kernels);
void fill_avx2(DenseGemvKernels& kernels);
void fill_avx512(DenseGemvKernels& kernels);
void fill_neon(DenseGemvKernels& kernels);

}  // namespace bitsmith
