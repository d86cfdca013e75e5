// Initial codebooks of tiles: one codebook for each strip of rows of a column group, by weighted
// EM (GPTVQ, section 3.2), each vector's distance by the sub-Hessian of its inputs.
#pragma once
#include "compressor/quantize/quantizer.h"
#include "compressor/torch.h"

namespace bitsmith {

struct InitialCodebooks {
  torch::Tensor centroids;  // [strips, 1, K, D] float32
  torch::Tensor codes;      // [out * columns / D, 1] int32
};

// points [out, columns] float32 (divided by their block scales); weights [out, columns / D]
// float32: how much each vector counts (the scale's square; undefined: 1); sub_hessians [columns /
// D, D, D]: what a difference costs in each place. Strips of `rows` rows, the last one may be
// shorter. Assignments and means until no assignment changes; empty clusters begin again at the
// worst points. D = 1: exact weighted k-means by dynamic programming where it is cheap (up to
// 65,536 points). Deterministic for a seed, whatever the threads.
InitialCodebooks initial_codebooks(const torch::Tensor& points, const torch::Tensor& weights,
                                   const torch::Tensor& sub_hessians, int64_t rows,
                                   int64_t centroids, CodebookInit init, int iterations,
                                   uint64_t seed);

// Cuts sorted points x [n] with weights w [n] > 0 into `clusters` runs with the least sum of
// w (x - mean)^2: the first index of each run. O(clusters n log n).
std::vector<int64_t> optimal_runs(const std::vector<double>& x, const std::vector<double>& w,
                                  int64_t clusters);

}  // namespace bitsmith
