// Scales of groups beside those of rows (aqMxBgG-sGxS): a few values of the matrix, and which of
// them each group has. w = scales[row] * values[codes[row, j]] * (the group's sum of centroids).
#pragma once
#include <vector>

#include "compressor/representation/code_group_search.h"
#include "compressor/torch.h"

namespace bitsmith {

struct GroupScales {
  torch::Tensor values;  // [2^S] float32; undefined: groups have no scales
  torch::Tensor codes;   // [out, in / g] int32
  bool defined() const { return values.defined(); }
};

// scales [out] times the groups' own: [out, in / g], differentiable in both; without any, scales.
torch::Tensor combined_scales(const torch::Tensor& scales, const GroupScales& groups);

// The best scale of a group whose values at scale 1 are given: codes are those of GroupScales.
class GroupScaleSearch : public CodeGroupSearch {
 public:
  // unscaled [out, in] float32: the matrix if all groups had the scale 1.
  GroupScaleSearch(const torch::Tensor& unscaled, const torch::Tensor& values,
                   int64_t code_group_size);

  int64_t code_group_size() const override { return g_; }
  int64_t num_codes() const override { return 1; }
  void reserve_slots(int64_t slots) override {
    sub_hessians_.resize(static_cast<size_t>(slots * g_ * g_));
  }
  void prepare(int64_t slot, const float* sub_hessian) override;
  void search(int64_t slot, int64_t count, const int64_t* code_groups, const float* linear,
              int32_t* codes) const override;
  void decode(int64_t count, const int64_t* code_groups, const int32_t* codes,
              float* values) const override;

 private:
  torch::Tensor unscaled_, values_;
  int64_t g_;
  std::vector<float> sub_hessians_;  // of each slot [g, g]
};

}  // namespace bitsmith
