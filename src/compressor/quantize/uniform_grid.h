// The best grid (scale, zero point) for groups of scalars that share one.
#pragma once
#include "compressor/torch.h"
#include "format/representation_spec.h"

namespace bitsmith {

struct UniformGrid {
  torch::Tensor scales;  // float32, values that fp16 holds
  torch::Tensor zeros;   // int32
};

// groups [..., G] float32 -> scales, zeros [...]: the lowest squared error with nearest codes among
// a line search over clipping ranges, each refined by least squares. Scales may be negative: the
// levels -2^(B-1) .. 2^(B-1)-1 reach one further on one side. `weights` broadcasts over groups:
// importance of the inputs; undefined: all the same.
UniformGrid best_uniform_grid(const torch::Tensor& groups, const torch::Tensor& weights,
                              const UniformSpec& spec);

// Nearest codes [..., G] int32 on a grid [...].
torch::Tensor uniform_codes(const torch::Tensor& groups, const UniformGrid& grid, int nbits);

}  // namespace bitsmith
