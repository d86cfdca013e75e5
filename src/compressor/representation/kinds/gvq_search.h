// The best centroid of a vector in its tile's own codebook. With the value p = s c (s: the block
// scale) the cost over s^2 is c^T B c - 2 (linear / s) . c.
#pragma once
#include <vector>

#include "compressor/representation/code_group_search.h"
#include "compressor/torch.h"
#include "format/representation_spec.h"
#include "kernels/kernel_table.h"

namespace bitsmith {

class GvqSearch : public CodeGroupSearch {
 public:
  // centroids [strips, column groups, K, D], block_scales [out, in / S] or undefined: float32 on
  // the CPU.
  GvqSearch(const GvqLayout& layout, const torch::Tensor& centroids,
            const torch::Tensor& block_scales,
            const SearchKernels& kernels = bitsmith::kernels().search);

  int64_t code_group_size() const override { return layout_.vector_size; }
  int64_t num_codes() const override { return 1; }
  void reserve_slots(int64_t slots) override {
    sub_hessians_.resize(static_cast<size_t>(slots * layout_.vector_size * layout_.vector_size));
  }
  void prepare(int64_t slot, const float* sub_hessian) override;
  void search(int64_t slot, int64_t count, const int64_t* code_groups, const float* linear,
              int32_t* codes) const override;
  // See code_neighbors.h.
  void search_neighbors(int64_t count, const int64_t* code_groups, const float* wanted,
                        int32_t* codes) const;
  void decode(int64_t count, const int64_t* code_groups, const int32_t* codes,
              float* values) const override;

 private:
  int64_t tile_of(int64_t code_group) const;
  float scale_of(int64_t code_group) const;
  // Code groups from `begin` on that lie in its tile, up to the end of the run: where it ends.
  int64_t end_of_tile(const int64_t* code_groups, int64_t begin, int64_t count) const;
  // norms [padded]: c^T B c of the tile's centroids.
  void norms_of(int64_t tile, const float* sub_hessian, float* norms) const;

  const SearchKernels& kernels_;
  GvqLayout layout_;
  torch::Tensor centroids_, block_scales_;
  int64_t num_centroids_, per_row_, padded_;
  std::vector<float> columns_;       // [tiles, D, padded]: codebooks transposed and padded
  std::vector<float> sub_hessians_;  // [slots, D, D]
};

}  // namespace bitsmith
