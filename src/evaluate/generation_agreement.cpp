#include "evaluate/generation_agreement.h"

#include <algorithm>
#include <set>

#include "base/error.h"

namespace bitsmith {
namespace {

double same_positions(const ContinuationPair& pair) {
  int64_t same = 0;
  for (size_t i = 0; i < pair.original.size(); ++i) same += pair.original[i] == pair.model[i];
  return static_cast<double>(same) / static_cast<double>(pair.original.size());
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace

int64_t agreeing_tokens(std::span<const int32_t> a, std::span<const int32_t> b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

double repetition_rate(std::span<const int32_t> tokens, int64_t n) {
  BITSMITH_CHECK(n > 0);
  const int64_t runs = std::ssize(tokens) - n + 1;
  if (runs <= 0) return 0;
  std::set<std::vector<int32_t>> different;
  for (int64_t i = 0; i < runs; ++i) different.emplace(tokens.begin() + i, tokens.begin() + i + n);
  return static_cast<double>(runs - std::ssize(different)) / static_cast<double>(runs);
}

GenerationAgreement generation_agreement(std::span<const ContinuationPair> pairs) {
  BITSMITH_CHECK(!pairs.empty());
  std::vector<double> agreeing, same;
  GenerationAgreement result;
  result.prompts = std::ssize(pairs);
  for (const ContinuationPair& pair : pairs) {
    BITSMITH_CHECK(!pair.original.empty() && pair.original.size() == pair.model.size());
    agreeing.push_back(static_cast<double>(agreeing_tokens(pair.original, pair.model)));
    same.push_back(same_positions(pair));
    const double share = 1 / static_cast<double>(pairs.size());
    result.repetition += share * repetition_rate(pair.model);
    result.repetition_original += share * repetition_rate(pair.original);
  }
  result.agreeing_tokens = mean_and_error(agreeing);
  result.agreeing_tokens_median = median(agreeing);
  result.agreement = mean_and_error(same);
  return result;
}

std::vector<std::vector<int32_t>> cut_prompts(std::span<const int32_t> text, int64_t count,
                                              int64_t length) {
  BITSMITH_CHECK(count > 0 && length > 0);
  const int64_t fitting = std::ssize(text) / length;
  if (count > fitting) {
    throw UsageError(concat("the text has ", text.size(), " tokens, too few for ", count,
                            " prompts of ", length, ": at most ", fitting,
                            fitting == 1 ? " fits" : " fit"));
  }
  const int64_t distance = std::ssize(text) / count;
  std::vector<std::vector<int32_t>> prompts;
  for (int64_t i = 0; i < count; ++i) {
    const auto prompt =
        text.subspan(static_cast<size_t>(i * distance), static_cast<size_t>(length));
    prompts.emplace_back(prompt.begin(), prompt.end());
  }
  return prompts;
}

}  // namespace bitsmith
