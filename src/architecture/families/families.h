// The families, one file each.
#pragma once
#include "architecture/family.h"

namespace bitsmith {

constexpr int64_t kMaxBlocks = 10'000;

extern const Family kLlama, kMistral, kQwen2, kQwen3;

}  // namespace bitsmith
