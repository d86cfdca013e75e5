// How much of a sum over the calibration text is chance: what its two halves, each a sample by
// itself, do not agree on.
#pragma once
#include "compressor/objective/objective.h"
#include "compressor/torch.h"

namespace bitsmith {

// With a = mu + e and b = mu + f, e and f independent noise of one size, the mean (a + b) / 2 holds
// mu and half of that noise: |a - b|^2 / |a + b|^2 estimates the noise's share of its square. At
// most 1; 1 where the sum vanishes. Of the mean the rest is what least squares keeps (for
// correlations this is the formula of Spearman and Brown).

// Of the shift of the target that a cross term makes, from those of the halves [out, in], in the
// norm of the objective; its own shift does not count.
double shift_noise(const Objective& objective, const torch::Tensor& first,
                   const torch::Tensor& second);

// Of the entries beside a Hessian's diagonal, from those of the halves [in, in], as correlations:
// an input with large activations counts as any other. What a Hessian should be moved towards its
// diagonal by (Ledoit & Wolf 2004; Schaefer & Strimmer 2005, target D).
double hessian_noise(const torch::Tensor& first, const torch::Tensor& second);

// (1 - share) H + share diag(H).
torch::Tensor shrunk_hessian(const torch::Tensor& hessian, double share);

}  // namespace bitsmith
