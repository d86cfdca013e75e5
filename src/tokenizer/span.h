// A stretch of a text in bytes.
#pragma once
#include <cstddef>

namespace bitsmith {

struct Span {
  size_t begin = 0, end = 0;
};

}  // namespace bitsmith
