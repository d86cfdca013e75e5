// How far greedy continuations of a model follow those of its original: what a user notices before
// any average does.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "evaluate/mean_error.h"

namespace bitsmith {

// Continuations of one prompt by the original and by the model, of one length.
struct ContinuationPair {
  std::vector<int32_t> original, model;
};

struct GenerationAgreement {
  int64_t prompts = 0;
  MeanError agreeing_tokens;  // before the first difference, a prompt
  double agreeing_tokens_median = 0;
  MeanError agreement;  // share of positions with the same token, after the first difference too
  double repetition = 0, repetition_original = 0;  // repetition_rate(), mean over the prompts
};

// Tokens that the two share from their beginning.
int64_t agreeing_tokens(std::span<const int32_t> a, std::span<const int32_t> b);

// The share of runs of n tokens that occur earlier in the same tokens: 0 where all are different,
// near 1 where a model goes round in a circle. 0 for fewer than n tokens.
double repetition_rate(std::span<const int32_t> tokens, int64_t n = 4);

// At least one pair. Prompts are taken as independent draws.
GenerationAgreement generation_agreement(std::span<const ContinuationPair> pairs);

// `count` prompts of `length` tokens, at equal distances in a text from its first token on. Throws
// UsageError where they would overlap.
std::vector<std::vector<int32_t>> cut_prompts(std::span<const int32_t> text, int64_t count,
                                              int64_t length);

}  // namespace bitsmith
