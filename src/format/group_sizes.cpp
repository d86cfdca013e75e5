#include "format/group_sizes.h"

namespace bitsmith {

std::string fitting_group_sizes(int64_t in_features, int64_t step, int64_t largest) {
  const auto divisors = [&](int64_t unit) {
    std::string text;
    for (int64_t size = unit; size <= largest; size += unit) {
      if (in_features % size == 0) text += (text.empty() ? "" : ", ") + std::to_string(size);
    }
    return text;
  };
  const std::string coarse = divisors(step);
  return coarse.empty() ? divisors(1) : coarse;
}

}  // namespace bitsmith
