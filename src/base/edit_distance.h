#pragma once
#include <cstddef>
#include <string_view>

namespace bitsmith {

// Bytes to insert, remove, replace or swap with their neighbor until a is b, for "did you mean".
// Takes time by the product of the lengths.
size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace bitsmith
