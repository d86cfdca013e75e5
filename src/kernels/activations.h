// Activations of the MLP, element by element. The same inputs give the same bits at every level.
// Included by files of an instruction set: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

template <typename T>  // float, or uint16_t: bfloat16
struct SiluMulKernels {
  // y = round(silu(gate)) * up, silu(x) = x / (1 + e^-x); round() is to T, arithmetic in float32.
  // y may be gate.
  void (*forward)(const T* gate, const T* up, int64_t count, T* y);
  void (*backward)(const T* gate, const T* up, const T* dy, int64_t count, T* dgate, T* dup);
};

struct ActivationKernels {
  SiluMulKernels<float> silu_mul;
  SiluMulKernels<uint16_t> silu_mul_bf16;

  // y[i] = f(x[i]) * up[i], or f(x[i]) where up is null; y may be x.
  using Function = void (*)(const float* x, const float* up, int64_t count, float* y);
  // x / (1 + e^-x): error below 4e-7 |x up|.
  Function silu;
  // x (1 + erf(x / sqrt(2))) / 2: error below 4e-7 |x up|.
  Function gelu;
  // x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2: error below 4e-7 |x up|.
  Function gelu_tanh;
  // max(x, 0).
  Function relu;
};

void fill_scalar(ActivationKernels& kernels);
void fill_avx2(ActivationKernels& kernels);
void fill_avx512(ActivationKernels& kernels);
void fill_neon(ActivationKernels& kernels);

}  // namespace bitsmith
