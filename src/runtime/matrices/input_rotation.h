// The rotation of a matrix's inputs (format/kinds/hadamard.h): signs, then Hadamard blocks.
#pragma once
#include <cstdint>
#include <vector>

#include "base/thread_pool.h"

namespace bitsmith {

struct InputRotation {
  std::vector<float> signs;  // [in_features], +1 or -1
  int64_t block = 0;
  bool operator==(const InputRotation&) const = default;

  // x [tokens, in_features] -> rotated, of the same shape. The result does not depend on the number
  // of threads.
  void apply(const float* x, int64_t tokens, float* rotated, ThreadPool& pool) const;
};

}  // namespace bitsmith
