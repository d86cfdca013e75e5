#include "architecture/alibi.h"

#include <cmath>
#include <iterator>

namespace bitsmith {

std::vector<float> alibi_slopes(int64_t heads) {
  const int64_t power = int64_t{1} << static_cast<int>(std::floor(std::log2(heads)));
  std::vector<float> slopes;
  const auto add_slopes = [&](int64_t of, int64_t first, int64_t step) {
    const double base = std::pow(2.0, -8.0 / static_cast<double>(of));
    for (int64_t i = first; std::ssize(slopes) < heads && i <= of; i += step)
      slopes.push_back(static_cast<float>(std::pow(base, static_cast<double>(i))));
  };
  add_slopes(power, 1, 1);
  add_slopes(2 * power, 1, 2);
  return slopes;
}

}  // namespace bitsmith
