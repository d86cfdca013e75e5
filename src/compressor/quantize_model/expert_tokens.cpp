#include "compressor/quantize_model/expert_tokens.h"

#include <algorithm>

#include "base/error.h"

namespace bitsmith {

ExpertTokens experts_with_few_tokens(const Block& block, std::span<const int64_t> tokens) {
  ExpertTokens few;
  for (size_t e = 0; e < tokens.size(); ++e) {
    const MlpPlan& expert = block.mlps[e].plan;
    const int64_t widest = std::max(expert.inputs.front().in_features, expert.width);
    if (4 * tokens[e] < widest) few[static_cast<int64_t>(e)] = tokens[e];
  }
  return few;
}

std::string few_tokens_message(int64_t block_index, const ExpertTokens& few, int64_t all_tokens) {
  std::string list;
  for (const auto& [expert, count] : few)
    list += concat(list.empty() ? "" : ", ", "expert ", expert, " ", count);
  return concat("block ", block_index, ": the router sends few of the ", all_tokens,
                " calibration tokens to some experts (", list,
                "); these are calibrated on all tokens");
}

}  // namespace bitsmith
