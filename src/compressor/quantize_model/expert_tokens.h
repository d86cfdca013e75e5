// How many calibration tokens the experts of a block get, and what too few of them mean.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "compressor/model/block.h"

namespace bitsmith {

// Experts by number, and how many tokens each gets.
using ExpertTokens = std::map<int64_t, int64_t>;

// Of the tokens that each expert gets, those of experts with fewer than a quarter of their widest
// matrix's inputs: their own tokens would say nothing of most directions, so these experts are
// calibrated on all tokens.
ExpertTokens experts_with_few_tokens(const Block& block, std::span<const int64_t> tokens);
// The warning of that; `all_tokens` is what the router divides.
std::string few_tokens_message(int64_t block_index, const ExpertTokens& few, int64_t all_tokens);

}  // namespace bitsmith
