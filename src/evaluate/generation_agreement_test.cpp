#include "evaluate/generation_agreement.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/error.h"

namespace bitsmith {
namespace {

using Tokens = std::vector<int32_t>;

TEST(AgreeingTokens, EndAtTheFirstDifference) {
  EXPECT_EQ(agreeing_tokens(Tokens{1, 2, 3}, Tokens{1, 2, 3}), 3);
  EXPECT_EQ(agreeing_tokens(Tokens{1, 2, 3}, Tokens{1, 9, 3}), 1);
  EXPECT_EQ(agreeing_tokens(Tokens{1, 2, 3}, Tokens{9, 2, 3}), 0);
  EXPECT_EQ(agreeing_tokens(Tokens{1, 2}, Tokens{1, 2, 3}), 2);
  EXPECT_EQ(agreeing_tokens(Tokens{}, Tokens{}), 0);
}

TEST(RepetitionRate, CountsRunsThatWereThereBefore) {
  Tokens all_different(20);
  std::iota(all_different.begin(), all_different.end(), 0);
  EXPECT_EQ(repetition_rate(all_different), 0);
  EXPECT_EQ(repetition_rate(Tokens(13, 7)), 0.9);  // 10 runs, one kind
  // 1 2 3 4 5 1 2 3 4: six runs of four, of which 1 2 3 4 comes twice.
  EXPECT_DOUBLE_EQ(repetition_rate(Tokens{1, 2, 3, 4, 5, 1, 2, 3, 4}), 1.0 / 6);
  EXPECT_EQ(repetition_rate(Tokens{1, 2, 1, 2}, 2), 1.0 / 3);
  EXPECT_EQ(repetition_rate(Tokens{1, 1, 1}), 0);  // shorter than a run
  EXPECT_EQ(repetition_rate(Tokens{}), 0);
}

TEST(GenerationAgreement, IsThatOfHandMadeContinuations) {
  const std::vector<ContinuationPair> pairs = {
      {{1, 2, 3, 4, 5, 6, 7, 8}, {1, 2, 3, 4, 5, 6, 7, 8}},  // 8 agree
      {{1, 2, 3, 4, 5, 6, 7, 8}, {1, 2, 9, 4, 9, 9, 9, 9}},  // 2, three positions
      {{1, 2, 3, 4, 5, 6, 7, 8}, {9, 9, 9, 9, 9, 9, 9, 9}},  // 0, none; 4 of 5 runs repeat
  };
  const GenerationAgreement result = generation_agreement(pairs);
  EXPECT_EQ(result.prompts, 3);
  EXPECT_DOUBLE_EQ(result.agreeing_tokens.mean, 10.0 / 3);
  EXPECT_NEAR(result.agreeing_tokens.error, std::sqrt(52.0 / 9), 1e-12);
  EXPECT_EQ(result.agreeing_tokens_median, 2);
  EXPECT_DOUBLE_EQ(result.agreement.mean, (1.0 + 3.0 / 8) / 3);
  EXPECT_DOUBLE_EQ(result.repetition, 0.8 / 3);
  EXPECT_EQ(result.repetition_original, 0);
}

TEST(GenerationAgreement, TheMedianOfTwoLiesBetween) {
  const std::vector<ContinuationPair> pairs = {{{1, 2, 3, 4}, {1, 2, 3, 4}}, {{1, 2}, {1, 3}}};
  EXPECT_EQ(generation_agreement(pairs).agreeing_tokens_median, 2.5);
}

TEST(CutPrompts, LieAtEqualDistances) {
  Tokens text(11);
  std::iota(text.begin(), text.end(), 0);
  EXPECT_EQ(cut_prompts(text, 3, 2), (std::vector<Tokens>{{0, 1}, {3, 4}, {6, 7}}));
  EXPECT_EQ(cut_prompts(text, 5, 2).back(), (Tokens{8, 9}));
  EXPECT_THROW(cut_prompts(text, 6, 2), UsageError);
}

}  // namespace
}  // namespace bitsmith
