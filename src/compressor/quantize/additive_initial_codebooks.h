// Where additive quantization begins: one codebook after another by k-means on what the ones before
// leave, each input weighted by its diagonal entry of the Hessian.
#pragma once
#include "base/random.h"
#include "compressor/torch.h"
#include "format/representation_spec.h"

namespace bitsmith {

struct InitialAdditive {
  torch::Tensor codebooks;  // [M, K, g] float32
  torch::Tensor codes;      // [out * in / g, M] int32
};

// Points are the groups of normalized [out, in] (divided by scales, [out] or [out, in / g]); row or
// group r counts with scales[r]^2, input i with weights[i] > 0. Lloyd's iterations from distinct
// random points, empty clusters set on the worst points; a large matrix on a sample of its rows.
// Deterministic for a generator state, whatever the threads.
InitialAdditive residual_kmeans(const torch::Tensor& normalized, const torch::Tensor& scales,
                                const torch::Tensor& weights, const AdditiveSpec& spec,
                                int iterations, Random& random);

}  // namespace bitsmith
