// CodedTerm::search_neighbors on the CPU: threads and batches around a kind's own search.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "compressor/parallel.h"
#include "compressor/torch.h"

namespace bitsmith {

// Search: a CodeGroupSearch that also has
//   void search_neighbors(int64_t count, const int64_t* code_groups, const float* wanted,
//                         int32_t* codes) const;
// which replaces codes [count, M] by the best of those that differ in one place, for the values
// `wanted` [count, g], with the tables of the identity in slot 0. Where values do not depend on
// codes they stay. `code_groups` undefined: all. Returns codes [n, M] int32.
template <typename Search>
torch::Tensor search_code_neighbors(Search& search, const torch::Tensor& target,
                                    const torch::Tensor& codes, const torch::Tensor& code_groups) {
  constexpr int64_t kAtOnce = 64;
  const int64_t g = search.code_group_size(), n = codes.size(0), places = search.num_codes();
  std::vector<float> identity(static_cast<size_t>(g * g));
  for (int64_t d = 0; d < g; ++d) identity[d * g + d] = 1;
  search.reserve_slots(1);
  search.prepare(0, identity.data());
  const torch::Tensor values = target.contiguous();
  const torch::Tensor listed = code_groups.defined() ? code_groups.contiguous() : code_groups;
  torch::Tensor result = codes.to(torch::kInt, /*non_blocking=*/false, /*copy=*/true).contiguous();
  const float* value = values.const_data_ptr<float>();
  const int64_t* group = listed.defined() ? listed.const_data_ptr<int64_t>() : nullptr;
  int32_t* out = result.mutable_data_ptr<int32_t>();
  parallel_tasks((n + kAtOnce - 1) / kAtOnce, [&](int64_t task) {
    const int64_t begin = task * kAtOnce, count = std::min(kAtOnce, n - begin);
    std::vector<int64_t> own(static_cast<size_t>(count));
    std::vector<float> wanted(static_cast<size_t>(count * g));
    for (int64_t i = 0; i < count; ++i) {
      own[i] = group != nullptr ? group[begin + i] : begin + i;
      std::copy_n(value + own[i] * g, g, wanted.begin() + i * g);
    }
    search.search_neighbors(count, own.data(), wanted.data(), out + begin * places);
  });
  return result;
}

}  // namespace bitsmith
