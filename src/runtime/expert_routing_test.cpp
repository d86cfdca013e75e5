#include "runtime/expert_routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace bitsmith {
namespace {

ExpertsPlan experts(size_t count, int64_t per_token, bool normalize) {
  ExpertsPlan plan;
  plan.experts.resize(count);
  plan.experts_per_token = per_token;
  plan.normalize = normalize;
  return plan;
}

// By the definition: an expert is chosen where fewer than experts_per_token others are before it.
TEST(ExpertRouting, TheBestExpertsByTheirProbabilities) {
  constexpr size_t kRows = 9, kExperts = 5;
  Random random(1);
  for (const int64_t per_token : {1, 2, 5}) {
    for (const bool normalize : {false, true}) {
      std::vector<float> scores;
      for (size_t i = 0; i < kRows * kExperts; ++i)
        scores.push_back(static_cast<float>(random.below(4)));  // with equal ones
      std::vector<float> work = scores;
      const auto tokens = route_tokens(experts(kExperts, per_token, normalize), work);
      ASSERT_EQ(tokens.size(), kExperts);
      for (size_t row = 0; row < kRows; ++row) {
        const float* s = &scores[row * kExperts];
        double all = 0, chosen = 0;
        std::vector<bool> is_chosen;
        for (size_t e = 0; e < kExperts; ++e) {
          int64_t before = 0;
          for (size_t other = 0; other < kExperts; ++other)
            before += s[other] > s[e] || (s[other] == s[e] && other < e);
          is_chosen.push_back(before < per_token);
          all += std::exp(double{s[e]});
          if (is_chosen[e]) chosen += std::exp(double{s[e]});
        }
        for (size_t e = 0; e < kExperts; ++e) {
          const auto found = std::find_if(
              tokens[e].begin(), tokens[e].end(),
              [&](const RoutedToken& token) { return token.row == static_cast<int64_t>(row); });
          ASSERT_EQ(found != tokens[e].end(), is_chosen[e]) << row << " " << e;
          if (!is_chosen[e]) continue;
          EXPECT_NEAR(found->weight, std::exp(double{s[e]}) / (normalize ? chosen : all), 1e-6);
        }
      }
      for (const auto& own : tokens)
        EXPECT_TRUE(std::is_sorted(own.begin(), own.end(),
                                   [](const auto& a, const auto& b) { return a.row < b.row; }));
    }
  }
}

TEST(ExpertRouting, LargeScoresAndNoTokens) {
  std::vector<float> scores = {1e30f, -1e30f, 3.0f};
  const auto tokens = route_tokens(experts(3, 2, true), scores);
  ASSERT_EQ(tokens[0].size(), 1u);
  EXPECT_EQ(tokens[0][0].weight, 1.0f);
  EXPECT_TRUE(tokens[0].size() == 1 && tokens[1].size() + tokens[2].size() == 1);
  EXPECT_TRUE(route_tokens(experts(3, 2, true), {})[0].empty());
}

}  // namespace
}  // namespace bitsmith
