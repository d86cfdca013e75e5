// The continuous half of additive quantisation: with codes fixed, tr((W-Q) H (W-Q)^T) is quadratic
// in the codebooks and, row by row, in the scales.
#pragma once
#include <torch/torch.h>

namespace bitsmith {

// Conjugate gradients on the codebooks [M, K, g] from the present ones, preconditioned by each
// vector's own g x g block of the normal matrix; the objective never rises by more than rounding.
// hessian undefined: identity.
torch::Tensor solve_codebooks(const torch::Tensor& weight, const torch::Tensor& hessian,
                              const torch::Tensor& codebooks, const torch::Tensor& scales,
                              const torch::Tensor& codes, int iterations);

// The best scale of every row [out]; rows whose vectors vanish keep theirs.
torch::Tensor solve_scales(const torch::Tensor& weight, const torch::Tensor& hessian,
                           const torch::Tensor& codebooks, const torch::Tensor& scales,
                           const torch::Tensor& codes);

}  // namespace bitsmith
