// The best code of a scalar on a uniform grid: the level nearest to linear / sub_hessian.
#pragma once
#include <vector>

#include "compressor/representation/code_group_search.h"
#include "compressor/torch.h"

namespace bitsmith {

class UniformSearch : public CodeGroupSearch {
 public:
  // scales and zeros float32 [out, in / G], on the CPU; `size` inputs share one.
  UniformSearch(const torch::Tensor& scales, const torch::Tensor& zeros, int64_t size, int nbits)
      : scales_(scales.detach().contiguous()),
        zeros_(zeros.detach().contiguous()),
        size_(size),
        largest_(static_cast<float>((1 << nbits) - 1)) {}

  int64_t code_group_size() const override { return 1; }
  int64_t num_codes() const override { return 1; }
  void reserve_slots(int64_t slots) override { sub_hessians_.resize(static_cast<size_t>(slots)); }
  void prepare(int64_t slot, const float* sub_hessian) override {
    sub_hessians_[slot] = *sub_hessian;
  }
  void search(int64_t slot, int64_t count, const int64_t* code_groups, const float* linear,
              int32_t* codes) const override;
  void decode(int64_t count, const int64_t* code_groups, const int32_t* codes,
              float* values) const override;

 private:
  torch::Tensor scales_, zeros_;
  int64_t size_;
  float largest_;
  std::vector<float> sub_hessians_;
};

}  // namespace bitsmith
