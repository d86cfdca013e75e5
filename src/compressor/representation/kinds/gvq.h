// gvqDdBb (GPTVQ): vectors of D adjacent inputs, a codebook for each tile, a
// strip of rows x column group.
#pragma once
#include <memory>
#include <vector>

#include "compressor/representation/term.h"

namespace bitsmith {

// What a gvq matrix holds, as float32 values that project() may round.
struct GvqTensors {
  torch::Tensor codebooks;  // [strips, column groups, K or R, D]
  torch::Tensor basis;      // [R, K]: centroid k = sum_i codebooks[.., i, 0] basis[i, k]; undefined
                            // without a rank
  torch::Tensor codes;      // [out * in / D, 1] of an integer type
  torch::Tensor block_scale_codes;  // [out, in / S] int32 in 0..15; undefined without scales
  torch::Tensor block_scale_grid;   // [strips, column groups, 2]: log2 of the first scale, step
};

// [strips, column groups, K, D], differentiable.
torch::Tensor gvq_centroids(const torch::Tensor& codebooks, const torch::Tensor& basis);
// [out, in / S]: 2^(first + code * step) of the tile, as format/ computes it.
torch::Tensor gvq_block_scales(const GvqLayout& layout, const torch::Tensor& codes,
                               const torch::Tensor& grid);
// Codebooks [strips, column groups, E, D] as the file holds them: fp16, or int8 times an fp16 scale
// each, the largest value at 127.
torch::Tensor project_codebooks(const GvqSpec& spec, const torch::Tensor& codebooks);

class GvqTerm : public CodedTerm {
 public:
  GvqTerm(const GvqSpec& spec, int64_t out_features, int64_t in_features,
          const GvqTensors& tensors);

  torch::Tensor dequantize() const override;
  std::vector<ContinuousParameter> continuous_parameters() const override;
  void project() override;
  int64_t code_group_size() const override { return layout_.vector_size; }
  torch::Tensor codes() const override { return tensors_.codes; }
  torch::Tensor search_codes(const torch::Tensor& target, const Objective& objective,
                             const torch::Tensor& code_groups) const override;
  torch::Tensor search_neighbors(const torch::Tensor& target, const torch::Tensor& codes,
                                 const torch::Tensor& code_groups) const override;
  torch::Tensor decode_code_groups(const torch::Tensor& code_groups,
                                   const torch::Tensor& codes) const override;
  void store(const QuantizedTensor& tensor) const override;

 private:
  torch::Tensor centroids() const { return gvq_centroids(tensors_.codebooks, tensors_.basis); }

  GvqSpec gvq_;
  GvqLayout layout_;
  GvqTensors tensors_;          // codebooks and basis: leaves
  torch::Tensor block_scales_;  // [out, in / S] or undefined
};

}  // namespace bitsmith
