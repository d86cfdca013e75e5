#include "compressor/calibration/text_checks.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "evaluate/evaluate.h"
#include "evaluate/text_warnings.h"

namespace bitsmith {

std::string few_tokens_warning(int64_t tokens, const ModelPlan& model) {
  int64_t widest = 0;
  for (const Site& site : sites(model.blocks.front())) widest = std::max(widest, site.features);
  if (tokens >= widest) return "";
  return concat(
      "calibration has ", tokens, " tokens, fewer than the ", widest,
      " inputs of the widest matrices: their Hessians do not have full rank; give more text or "
      "more tokens");
}

std::string absurd_text_warning(LanguageModel& original, const TokenDataset& data,
                                const std::string& source, const RunContext& context) {
  const int64_t windows = std::min<int64_t>(2, data.train.size(0));
  const int64_t length = std::min(data.train.size(1), kAbsurdTextTokens);
  if (windows == 0 || length < 2) return "";
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < windows; ++i) {
    const int64_t* row = data.train.const_data_ptr<int64_t>() + i * data.train.size(1);
    tokens.insert(tokens.end(), row, row + length);
  }
  const double perplexity =
      evaluate(original, nullptr, tokens, {.context = length}, context).perplexity;
  return absurd_perplexity_warning(source, perplexity, std::ssize(tokens), original.vocab_size());
}

}  // namespace bitsmith
