// The continuous half of additive quantization: with codes fixed, tr(G (W-Q) H (W-Q)^T) is
// quadratic in the codebooks, in the scales (row by row unless G is full), and in the values of
// group scales. Scales are those of additive_dequantize.h, [out] or [out, in / g].
#pragma once
#include "compressor/objective/objective.h"
#include "compressor/representation/kinds/group_scales.h"
#include "compressor/torch.h"

namespace bitsmith {

// Conjugate gradients on the codebooks [M, K, g] from the present ones, preconditioned by each
// centroid's own g x g diagonal block of the normal matrix; the objective never rises by more than
// rounding.
torch::Tensor solve_codebooks(const torch::Tensor& weight, const Objective& objective,
                              const torch::Tensor& codebooks, const torch::Tensor& scales,
                              const torch::Tensor& codes, int iterations);

// The best scale of every row [out] of `unscaled` [out, in]; rows that vanish keep theirs. With a
// full output factor by conjugate gradients from the present ones.
torch::Tensor solve_scales(const torch::Tensor& weight, const Objective& objective,
                           const torch::Tensor& unscaled, const torch::Tensor& scales,
                           int iterations);

// The values of group scales [2^S] by conjugate gradients from the present ones; `unscaled` [out,
// in] is the matrix if all groups had the scale 1.
torch::Tensor solve_group_scale_values(const torch::Tensor& weight, const Objective& objective,
                                       const torch::Tensor& unscaled, const GroupScales& groups,
                                       int iterations);

}  // namespace bitsmith
