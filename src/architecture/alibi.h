// Attention with linear biases (Press et al. 2022).
#pragma once
#include <cstdint>
#include <vector>

namespace bitsmith {

// The slope of each head: a geometric sequence for a power of two of heads; others take every
// second one of the next larger power.
std::vector<float> alibi_slopes(int64_t heads);

}  // namespace bitsmith
