// The dense matrix of an additive representation and the way back of its gradient, threaded.
#pragma once
#include "compressor/torch.h"

namespace bitsmith {

// Everywhere: codebooks [M, K, g] float32; scales [out] float32 of rows, or [out, in / g] of
// groups; codes [out * in / g, M] int32 or uint8.
struct AdditiveGradient {
  torch::Tensor codebooks, scales;
};

// W [out, in], W[r, j*g..] = scales[r (, j)] * sum_m codebooks[m, codes[r, j, m]], as autograd sees
// it.
torch::Tensor additive_dequantize(const torch::Tensor& codebooks, const torch::Tensor& scales,
                                  const torch::Tensor& codes);
// The same in plain tensor operations: any device, and the reference in tests.
torch::Tensor additive_dequantize_reference(const torch::Tensor& codebooks,
                                            const torch::Tensor& scales,
                                            const torch::Tensor& codes);

// CPU, no autograd. The transpose scatters grad [out, in] to codebooks and scales; sums are taken
// in an order that does not depend on the number of threads.
torch::Tensor additive_decode(const torch::Tensor& codebooks, const torch::Tensor& scales,
                              const torch::Tensor& codes);
AdditiveGradient additive_decode_transpose(const torch::Tensor& grad,
                                           const torch::Tensor& codebooks,
                                           const torch::Tensor& scales, const torch::Tensor& codes);

}  // namespace bitsmith
