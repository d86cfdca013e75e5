// The continuous half of additive quantization: with codes fixed, tr((W-Q) H (W-Q)^T) is quadratic
// in the codebooks, row by row in the scales, and in the values of group scales. Scales are those
// of additive_dequantize.h, [out] or [out, in / g].
#pragma once
#include "compressor/representation/group_scales.h"
#include "compressor/torch.h"

namespace bitsmith {

// Conjugate gradients on the codebooks [M, K, g] from the present ones, preconditioned by each
// vector's own g x g block of the normal matrix; the objective never rises by more than rounding.
// hessian undefined: identity.
torch::Tensor solve_codebooks(const torch::Tensor& weight, const torch::Tensor& hessian,
                              const torch::Tensor& codebooks, const torch::Tensor& scales,
                              const torch::Tensor& codes, int iterations);

// The best scale of every row [out] of `vectors` [out, in]; rows that vanish keep theirs.
torch::Tensor solve_scales(const torch::Tensor& weight, const torch::Tensor& hessian,
                           const torch::Tensor& vectors, const torch::Tensor& scales);

// The values of group scales [2^S] by conjugate gradients from the present ones; `vectors` [out,
// in] is the matrix if all groups had the scale 1.
torch::Tensor solve_group_scale_values(const torch::Tensor& weight, const torch::Tensor& hessian,
                                       const torch::Tensor& vectors, const GroupScales& groups,
                                       int iterations);

}  // namespace bitsmith
