// The dense matrix of codebook tiles and the way back of its gradient, threaded over strips.
#pragma once
#include "compressor/torch.h"
#include "format/representation_spec.h"

namespace bitsmith {

// Everywhere: centroids [strips, column groups, K, D] float32, codes [out * in / D, 1] int32 or
// uint8, block_scales [out, in / S] float32 or undefined (1).

// W [out, in], W[r, j D + t] = scale[r, j D / S] * centroids[r / rows, j D / columns, code[r, j],
// t], as autograd sees it.
torch::Tensor gvq_dequantize(const GvqLayout& layout, const torch::Tensor& centroids,
                             const torch::Tensor& codes, const torch::Tensor& block_scales);
// The same in plain tensor operations: any device, and the reference in tests.
torch::Tensor gvq_dequantize_reference(const GvqLayout& layout, const torch::Tensor& centroids,
                                       const torch::Tensor& codes,
                                       const torch::Tensor& block_scales);
// Flat index [n] int64 of the tile (strip, column group) that holds each of `code_groups` [n]
// int64.
torch::Tensor tile_of_code_groups(const GvqLayout& layout, const torch::Tensor& code_groups);

// CPU, no autograd. The transpose scatters a matrix [out, in] to centroids; a strip's sums are
// taken by one thread, so that they do not depend on the number of threads.
torch::Tensor gvq_decode(const GvqLayout& layout, const torch::Tensor& centroids,
                         const torch::Tensor& codes, const torch::Tensor& block_scales);
torch::Tensor gvq_decode_transpose(const GvqLayout& layout, const torch::Tensor& matrix,
                                   const torch::Tensor& centroids, const torch::Tensor& codes,
                                   const torch::Tensor& block_scales);

}  // namespace bitsmith
