#include "compressor/representation/kinds/uniform_search.h"

#include <algorithm>
#include <cmath>

namespace bitsmith {

void UniformSearch::search(int64_t slot, int64_t count, const int64_t* code_groups,
                           const float* linear, int32_t* codes) const {
  const float sub_hessian = sub_hessians_[static_cast<size_t>(slot)];
  if (!(sub_hessian > 0)) return;  // a dead input: every code is as good
  const auto* scales = scales_.const_data_ptr<float>();
  const auto* zeros = zeros_.const_data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = code_groups[i] / size_;
    if (scales[at] == 0) continue;
    const float level = linear[i] / sub_hessian / scales[at] + zeros[at];
    codes[i] = static_cast<int32_t>(std::clamp(std::nearbyint(level), 0.0f, largest_));
  }
}

void UniformSearch::decode(int64_t count, const int64_t* code_groups, const int32_t* codes,
                           float* values) const {
  const auto* scales = scales_.const_data_ptr<float>();
  const auto* zeros = zeros_.const_data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = code_groups[i] / size_;
    values[i] = scales[at] * (static_cast<float>(codes[i]) - zeros[at]);
  }
}

}  // namespace bitsmith
