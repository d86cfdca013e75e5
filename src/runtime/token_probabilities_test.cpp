#include "runtime/token_probabilities.h"

#include <gtest/gtest.h>

#include <cmath>

namespace bitsmith {
namespace {

TEST(TokenProbabilities, AreTheLogarithmOfTheSoftmax) {
  const std::vector<float> logits = {1.0f, 3.0f, -2.0f, 3.0f};
  double total = 0;
  for (const float x : logits) total += std::exp(double{x});
  const TokenProbabilities found = token_probabilities(logits, 2, 3);
  EXPECT_EQ(found.chosen.token, 2);
  EXPECT_NEAR(found.chosen.log_probability, -2 - std::log(total), 1e-6);
  ASSERT_EQ(found.likeliest.size(), 3u);
  EXPECT_EQ(found.likeliest[0].token, 1);
  EXPECT_EQ(found.likeliest[1].token, 3);
  EXPECT_EQ(found.likeliest[2].token, 0);
  // A chosen token among the likeliest has exactly the value that it has there.
  EXPECT_EQ(token_probabilities(logits, 1, 1).chosen.log_probability,
            token_probabilities(logits, 1, 1).likeliest[0].log_probability);
  EXPECT_TRUE(token_probabilities(logits, 0, 0).likeliest.empty());
}

}  // namespace
}  // namespace bitsmith
