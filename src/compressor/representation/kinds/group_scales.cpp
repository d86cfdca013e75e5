#include "compressor/representation/kinds/group_scales.h"

#include <algorithm>

namespace bitsmith {

torch::Tensor combined_scales(const torch::Tensor& scales, const GroupScales& groups) {
  if (!groups.defined()) return scales;
  const auto own = groups.values.index_select(0, groups.codes.reshape({-1}));
  return scales.unsqueeze(1) * own.reshape(groups.codes.sizes());
}

GroupScaleSearch::GroupScaleSearch(const torch::Tensor& unscaled, const torch::Tensor& values,
                                   int64_t code_group_size)
    : unscaled_(unscaled.contiguous()),
      values_(values.detach().contiguous()),
      g_(code_group_size) {}

void GroupScaleSearch::prepare(int64_t slot, const float* sub_hessian) {
  std::copy_n(sub_hessian, g_ * g_, sub_hessians_.begin() + slot * g_ * g_);
}

// With v the group's values at scale 1, a scale s costs s^2 v^T B v - 2 s linear . v.
void GroupScaleSearch::search(int64_t slot, int64_t count, const int64_t* code_groups,
                              const float* linear, int32_t* codes) const {
  const float* sub_hessian = sub_hessians_.data() + slot * g_ * g_;
  const auto* values = values_.const_data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) {
    const float* v = unscaled_.const_data_ptr<float>() + code_groups[i] * g_;
    float square = 0, dot = 0;
    for (int64_t a = 0; a < g_; ++a) {
      float product = 0;
      for (int64_t b = 0; b < g_; ++b) product += sub_hessian[a * g_ + b] * v[b];
      square += product * v[a];
      dot += linear[i * g_ + a] * v[a];
    }
    const auto cost = [&](int64_t k) { return values[k] * (values[k] * square - 2 * dot); };
    for (int32_t k = 0; k < values_.size(0); ++k) {
      if (cost(k) < cost(codes[i])) codes[i] = k;
    }
  }
}

void GroupScaleSearch::decode(int64_t count, const int64_t* code_groups, const int32_t* codes,
                              float* values) const {
  for (int64_t i = 0; i < count; ++i) {
    const float* v = unscaled_.const_data_ptr<float>() + code_groups[i] * g_;
    const float scale = values_.const_data_ptr<float>()[codes[i]];
    for (int64_t t = 0; t < g_; ++t) values[i * g_ + t] = scale * v[t];
  }
}

}  // namespace bitsmith
