// The continuous half of GPTVQ: with codes fixed, tr(G (W-Q) H (W-Q)^T) is quadratic in all
// codebooks of a matrix at once (GPTVQ, section 3.3).
#pragma once
#include "compressor/objective/objective.h"
#include "compressor/torch.h"
#include "format/representation_spec.h"

namespace bitsmith {

struct GvqProblem {
  torch::Tensor weight;  // [out, in] float32: what is wanted
  Objective objective;   // without a shift
  GvqLayout layout;
  torch::Tensor codes;         // [out * in / D, 1] int32
  torch::Tensor block_scales;  // [out, in / S] float32, or undefined
};

// Conjugate gradients on the centroids [strips, column groups, K, D] from the present ones,
// preconditioned by each centroid's own D x D diagonal block of the normal matrix. The objective
// never rises by more than rounding; centroids without vectors stay.
torch::Tensor solve_centroids(const GvqProblem& problem, const torch::Tensor& centroids,
                              int iterations);

// Codebooks of rank R: centroid k of a tile is sum_i coefficients[tile, i] basis[i, k].
struct LowRankCodebooks {
  torch::Tensor coefficients;  // [strips, column groups, R, 1] float32
  torch::Tensor basis;         // [R, K] float32
};
// The best of rank R near all codebooks [strips, column groups, K, 1], whose centroids are in
// ascending order (singular value decomposition; GPTVQ, appendix H).
LowRankCodebooks low_rank_codebooks(const torch::Tensor& centroids, int rank);
// Coefficients and basis in turn by conjugate gradients, the other fixed.
LowRankCodebooks solve_low_rank(const GvqProblem& problem, const LowRankCodebooks& codebooks,
                                int iterations);

}  // namespace bitsmith
