// The best additive codes of a group: pairs of codebooks jointly and exactly (code_pairs.h), with
// our SIMD kernels. For a group with scale s and u = p / s the cost over s^2 is
//   first[k0] + second[k1] + cross[k0, k1],  first[k] = c^T B c - 2 (linear / s) . c,
//   cross[k0, k1] = 2 c0^T B c1,
// where cross is the same for all rows of a code column: a min-plus product.
#pragma once
#include <vector>

#include "compressor/representation/code_group_search.h"
#include "compressor/representation/code_pairs.h"
#include "compressor/torch.h"
#include "kernels/kernel_table.h"

namespace bitsmith {

class AdditiveSearch : public CodeGroupSearch {
 public:
  // codebooks [M, K, g], scales [out] or [out, groups a row], float32 on the CPU. beam 0: pairs of
  // codebooks jointly; else the reference's beam search of that width, one codebook after another,
  // in each group.
  AdditiveSearch(const torch::Tensor& codebooks, const torch::Tensor& scales, int64_t per_row,
                 int beam = 0, const SearchKernels& kernels = bitsmith::kernels().search);

  int64_t code_group_size() const override { return g_; }
  int64_t num_codes() const override { return num_codebooks_; }
  void reserve_slots(int64_t slots) override;
  void prepare(int64_t slot, const float* sub_hessian) override;
  void search(int64_t slot, int64_t count, const int64_t* code_groups, const float* linear,
              int32_t* codes) const override;
  // See code_neighbors.h.
  void search_neighbors(int64_t count, const int64_t* code_groups, const float* wanted,
                        int32_t* codes) const;
  void decode(int64_t count, const int64_t* code_groups, const int32_t* codes,
              float* values) const override;

 private:
  struct Tables {
    std::vector<float> sub_hessian;         // [g, g]
    std::vector<std::vector<float>> norms;  // of each codebook [padded]: c^T B c
    std::vector<std::vector<float>> cross;  // of each joint pair [K, padded]
  };

  const float* centroid_of(int64_t m, int64_t k) const {
    return centroids_ + (m * num_centroids_ + k) * g_;
  }
  float scale_of(int64_t code_group) const {
    return scales_.const_data_ptr<float>()[scales_.dim() == 1 ? code_group / per_row_ : code_group];
  }
  const float* columns(int64_t m) const { return columns_.data() + m * g_ * padded_; }
  void search_one(const Tables& tables, int64_t m, int64_t count, const float* rest,
                  int32_t* codes) const;
  void search_beam(const Tables& tables, const float* linear, int32_t* codes) const;
  void search_joint(const Tables& tables, size_t pair, int64_t count, const float* rest,
                    int32_t* codes) const;

  const SearchKernels& kernels_;
  torch::Tensor codebooks_, scales_;
  const float* centroids_;
  int64_t num_codebooks_, num_centroids_, g_, per_row_, padded_;
  int beam_;
  std::vector<CodePair> pairs_;
  std::vector<float> columns_;  // codebooks transposed and padded [M, g, padded]
  std::vector<Tables> tables_;  // of each slot
};

}  // namespace bitsmith
