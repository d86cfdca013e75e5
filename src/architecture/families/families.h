// The families: one or two of a kind in a file.
#pragma once
#include "architecture/family.h"

namespace bitsmith {

constexpr int64_t kMaxBlocks = 10'000;

extern const Family kLlama, kMistral, kMixtral, kQwen2, kQwen3, kQwen3Moe, kPhi3, kGemma2, kGemma3,
    kOlmo2, kBloom, kGpt2, kOpt, kGptNeox;

}  // namespace bitsmith
