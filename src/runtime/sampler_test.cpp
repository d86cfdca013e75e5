#include "runtime/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"

namespace bitsmith {
namespace {

const std::vector<float> kLogits = {1.0f, 3.0f, -2.0f, 2.5f, 0.0f, 3.0f, -50.0f};

std::vector<int> histogram(const SamplingOptions& options, int draws,
                           const std::vector<float>& logits = kLogits) {
  Sampler sampler(options, 7);
  std::vector<int> counts(logits.size());
  for (int i = 0; i < draws; ++i) ++counts[static_cast<size_t>(sampler.sample(logits, {}))];
  return counts;
}

std::set<int> support(const SamplingOptions& options) {
  const auto counts = histogram(options, 20000);
  std::set<int> tokens;
  for (size_t i = 0; i < counts.size(); ++i)
    if (counts[i] > 0) tokens.insert(static_cast<int>(i));
  return tokens;
}

TEST(Sampler, GreedyTakesTheFirstOfTheLargest) {
  Sampler sampler({.temperature = 0});
  EXPECT_EQ(sampler.sample(kLogits, {}), 1);
}

TEST(Sampler, FollowsTheSoftmax) {
  for (const double temperature : {0.5, 1.0, 2.0}) {
    constexpr int kDraws = 50000;
    const auto counts = histogram({.temperature = temperature}, kDraws);
    double total = 0, chi_square = 0;
    for (const float logit : kLogits) total += std::exp(logit / temperature);
    for (size_t i = 0; i + 1 < kLogits.size(); ++i) {
      const double expected = kDraws * std::exp(kLogits[i] / temperature) / total;
      if (expected > 5) chi_square += std::pow(counts[i] - expected, 2) / expected;
    }
    EXPECT_LT(chi_square, 22);  // at most 5 degrees of freedom: one run in two thousand exceeds it
  }
}

TEST(Sampler, TheSmallestTemperaturesTakeTheLikeliest) {
  for (const double temperature : {1e-6, 1e-40, std::numeric_limits<double>::denorm_min()})
    EXPECT_EQ(support({.temperature = temperature}), (std::set<int>{1, 5}));
}

TEST(Sampler, TopK) {
  EXPECT_EQ(support({.top_k = 1}), (std::set<int>{1}));
  EXPECT_EQ(support({.top_k = 3}), (std::set<int>{1, 3, 5}));
  EXPECT_EQ(support({.top_k = 100}), support({}));
}

TEST(Sampler, TopP) {
  // Probabilities: 0.356, 0.356, 0.216, 0.048, 0.018, 0.002 for tokens 1, 5, 3, 0, 4, 2.
  EXPECT_EQ(support({.top_p = 0.3}), (std::set<int>{1}));
  EXPECT_EQ(support({.top_p = 0.7}), (std::set<int>{1, 5}));
  EXPECT_EQ(support({.top_p = 0.9}), (std::set<int>{1, 3, 5}));
  // The mass is that of what top-k left: 0.356 of 0.712 is just half.
  EXPECT_EQ(support({.top_k = 2, .top_p = 0.45}), (std::set<int>{1}));
}

TEST(Sampler, MinP) {
  EXPECT_EQ(support({.min_p = 0.5}), (std::set<int>{1, 3, 5}));  // exp(-0.5) = 0.61
  EXPECT_EQ(support({.min_p = 0.1}), (std::set<int>{0, 1, 3, 5}));
  EXPECT_EQ(support({.min_p = 1.0}), (std::set<int>{1, 5}));
}

TEST(Sampler, RepetitionPenaltyCountsATokenOnce) {
  Sampler sampler({.temperature = 0, .repetition_penalty = 1.3});
  EXPECT_EQ(sampler.sample(kLogits, std::vector<int32_t>{1}), 5);        // 3 / 1.3 < 3
  EXPECT_EQ(sampler.sample(kLogits, std::vector<int32_t>{1, 5}), 3);     // 2.31 < 2.5
  EXPECT_EQ(sampler.sample(kLogits, std::vector<int32_t>{1, 5, 3}), 1);  // 2.31 > 1.92
  EXPECT_EQ(sampler.sample(kLogits, std::vector<int32_t>{1, 1, 1, 5, 3, 3}), 1);
}

TEST(Sampler, SeedAndStreamDecide) {
  const auto draw = [](uint64_t seed, uint64_t stream) {
    Sampler sampler({.temperature = 2}, seed, stream);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 20; ++i) tokens.push_back(sampler.sample(kLogits, {}));
    return tokens;
  };
  EXPECT_EQ(draw(1, 0), draw(1, 0));
  EXPECT_NE(draw(1, 0), draw(2, 0));
  EXPECT_NE(draw(1, 0), draw(1, 1));
}

TEST(Sampler, NotANumber) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const double temperature : {0.0, 1.0}) {
    Sampler sampler({.temperature = temperature});
    EXPECT_THROW(sampler.sample(std::vector<float>{nan, nan}, {}), Error);
    EXPECT_EQ(sampler.sample(std::vector<float>{nan, 1.0f, nan}, {}), 1);
  }
}

TEST(Sampler, OptionsOutOfRange) {
  EXPECT_THROW(check({.temperature = -1}), UsageError);
  EXPECT_THROW(check({.top_k = -1}), UsageError);
  EXPECT_THROW(check({.top_p = 0}), UsageError);
  EXPECT_THROW(check({.min_p = 1.5}), UsageError);
  EXPECT_THROW(check({.repetition_penalty = 0}), UsageError);
  EXPECT_NO_THROW(check({}));
}

}  // namespace
}  // namespace bitsmith
