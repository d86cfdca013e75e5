// The best codes of the lattice representations for a group of eight inputs.
#pragma once
#include <span>
#include <vector>

#include "compressor/representation/code_group_search.h"
#include "compressor/representation/kinds/e8p_nearest.h"
#include "compressor/torch.h"
#include "format/kinds/e8p.h"

namespace bitsmith {

// One stage: exact. Two: residual quantization, each stage's exact best for what the other leaves,
// by turns until neither helps, from nothing and from the present codes; the better of both.
class E8pSearch : public CodeGroupSearch {
 public:
  // scales [out, stages], float32 on the CPU.
  E8pSearch(const E8pSpec& spec, const torch::Tensor& scales, int64_t per_row,
            const SearchKernels& kernels = bitsmith::kernels().search);

  int64_t code_group_size() const override { return kE8Size; }
  int64_t num_codes() const override { return spec_.stages(); }
  void reserve_slots(int64_t slots) override { tables_.resize(static_cast<size_t>(slots)); }
  void prepare(int64_t slot, const float* sub_hessian) override;
  void search(int64_t slot, int64_t count, const int64_t* code_groups, const float* linear,
              int32_t* codes) const override;
  // See search_code_neighbors().
  void search_neighbors(int64_t count, const int64_t* code_groups, const float* wanted,
                        int32_t* codes) const;
  void decode(int64_t count, const int64_t* code_groups, const int32_t* codes,
              float* values) const override;

 private:
  struct Tables {
    std::vector<float> sub_hessian;  // [8, 8]
    E8pNearest nearest;
    std::vector<float> short_norms;  // [256], of a stage of short points
  };
  const float* scales_of(int64_t code_group) const {
    return scales_.const_data_ptr<float>() + code_group / per_row_ * spec_.stages();
  }
  const float* point(int stage, int32_t code) const {
    return points_[static_cast<size_t>(stage)].data() + code * kE8Size;
  }
  // The best code of a stage but `without`; linear is in units of the stage's scale.
  int32_t best_of_stage(const Tables& tables, int stage, const float* linear,
                        int32_t without = E8pNearest::kNone) const;
  void search_residual(const Tables& tables, const float* scales, const float* linear,
                       int32_t* codes) const;
  float cost(const Tables& tables, const float* scales, const float* linear,
             const int32_t* codes) const;
  void decode_group(const float* scales, const int32_t* codes, float* values) const;

  E8pSpec spec_;
  const SearchKernels& kernels_;
  torch::Tensor scales_;
  int64_t per_row_;
  std::vector<std::span<const float>> points_;  // of each stage
  std::vector<float> short_columns_;            // short points transposed [8, 256]
  std::vector<Tables> tables_;                  // of each slot
};

}  // namespace bitsmith
