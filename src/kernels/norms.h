// Norms of rows [rows, features]. The same inputs give the same bits at every level. Included by
// files of an instruction set: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

template <typename T>  // float, or uint16_t: bfloat16
struct RmsNormKernels {
  // r = 1 / sqrt(mean(x^2) + eps) of each row, kept in inverse_rms [rows] unless null, and
  // y = weight * round(x r), or with one_plus_weight y = (1 + weight) * x r (Gemma); round() is to
  // T, arithmetic in float32. y may be x.
  void (*forward)(const T* x, const T* weight, bool one_plus_weight, int64_t rows, int64_t features,
                  float eps, T* y, float* inverse_rms);
  // The gradient: dx of dy; dweight [features] is added to unless null. dx may be dy.
  void (*backward)(const T* x, const T* weight, bool one_plus_weight, const float* inverse_rms,
                   const T* dy, int64_t rows, int64_t features, T* dx, float* dweight);
};

struct NormKernels {
  RmsNormKernels<float> rms;
  RmsNormKernels<uint16_t> rms_bf16;
  // y = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias of each row; bias may be null, y
  // may be x. Relative error of y - bias below 1e-6 of the row's largest.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, int64_t rows,
                     int64_t features, float eps, float* y);
};

void fill_scalar(NormKernels& kernels);
void fill_avx2(NormKernels& kernels);
void fill_avx512(NormKernels& kernels);
void fill_neon(NormKernels& kernels);

}  // namespace bitsmith
