// Group sizes to propose where the one that was asked for does not fit.
#pragma once
#include <cstdint>
#include <string>

namespace bitsmith {

// The divisors of in_features that are multiples of `step`, up to `largest`: "8, 16, 24". Without
// any, all divisors up to `largest`.
std::string fitting_group_sizes(int64_t in_features, int64_t step, int64_t largest);

}  // namespace bitsmith
