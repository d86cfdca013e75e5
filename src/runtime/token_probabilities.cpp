#include "runtime/token_probabilities.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "evaluate/softmax_row.h"

namespace bitsmith {

TokenProbabilities token_probabilities(std::span<const float> logits, int32_t token,
                                       int64_t count) {
  BITSMITH_CHECK(token >= 0 && static_cast<size_t>(token) < logits.size() && count >= 0 &&
                 count <= std::ssize(logits));
  const double total = log_sum_exp(logits).value;
  const auto entry = [&](int32_t id) {
    return TokenProbabilities::Entry{id, std::min(0.0, logits[static_cast<size_t>(id)] - total)};
  };
  TokenProbabilities result{entry(token), {}};
  if (count == 0) return result;
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::partial_sort(ids.begin(), ids.begin() + count, ids.end(), likelier);
  for (int64_t i = 0; i < count; ++i)
    result.likeliest.push_back(entry(ids[static_cast<size_t>(i)]));
  return result;
}

}  // namespace bitsmith
