// The best grid of a group of scalars whose codes stay: the scale and the zero point, as the file
// holds them, with the least cost given all other groups.
#pragma once
#include <vector>

#include "compressor/quantize/uniform_grid.h"
#include "compressor/representation/code_group_search.h"

namespace bitsmith {

// A grid as the codes of a code group: the bits of its fp16 scale and its zero point. [n, 2] int32
// for grids [out, groups].
torch::Tensor codes_of_grids(const UniformGrid& grids);
// And back, in the shape [out, groups].
UniformGrid grids_of_codes(const torch::Tensor& codes, int64_t out);

// For search_code_groups(): groups take turns. Exact in one group: the cost is quadratic in the
// scale, so that the fp16 value nearest to its minimum is the best for each zero point, and all
// zero points are tried. Without zero points of its own a group keeps the one it has.
class UniformGridSearch : public CodeGroupSearch {
 public:
  // codes int32 of out * in weights, on the CPU; `size` inputs share a grid.
  UniformGridSearch(const torch::Tensor& codes, int64_t size, const UniformSpec& spec);

  int64_t code_group_size() const override { return size_; }
  int64_t num_codes() const override { return 2; }
  void reserve_slots(int64_t slots) override { sub_hessians_.resize(static_cast<size_t>(slots)); }
  void prepare(int64_t slot, const float* sub_hessian) override;
  void search(int64_t slot, int64_t count, const int64_t* code_groups, const float* linear,
              int32_t* codes) const override;
  void decode(int64_t count, const int64_t* code_groups, const int32_t* codes,
              float* values) const override;

 private:
  // levels [size]: codes of the group above `zero`.
  void levels_of(int64_t code_group, int32_t zero, float* levels) const;

  torch::Tensor codes_;
  int64_t size_;
  UniformSpec spec_;
  struct SubHessian {
    torch::Tensor matrix, row_sums;  // [size, size], [size] float32
    double sum = 0;                  // of all entries
  };
  std::vector<SubHessian> sub_hessians_;
};

}  // namespace bitsmith
