#include "base/random.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace bitsmith {
namespace {

TEST(RandomTest, IsPcg32) {
  // Output of the generator's own demonstration program for seed 42, stream 54.
  Random random(42, 54);
  for (const uint32_t expected :
       {0xa15c02b7u, 0x7b47f409u, 0xba1d3330u, 0x83d2f293u, 0xbfa4784bu, 0xcbed606eu}) {
    EXPECT_EQ(random.next(), expected);
  }
}

TEST(RandomTest, ACopiedStateContinuesTheSame) {
  Random random(3, 5);
  for (int i = 0; i < 100; ++i) random.next();
  Random copy;
  copy.state = random.state;
  copy.increment = random.increment;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(copy.next(), random.next());
}

TEST(RandomTest, StreamsAndSeedsDiffer) {
  EXPECT_NE(Random(1, 0).next(), Random(1, 1).next());
  EXPECT_NE(Random(1, 0).next(), Random(2, 0).next());
}

TEST(RandomTest, BelowIsUniform) {
  Random random(7);
  constexpr int kBins = 7, kDraws = 70'000;
  std::array<int, kBins> counts{};
  for (int i = 0; i < kDraws; ++i) ++counts[random.below(kBins)];
  double chi_squared = 0;
  for (const int count : counts) {
    chi_squared += std::pow(count - kDraws / kBins, 2) / (kDraws / kBins);
  }
  EXPECT_LT(chi_squared, 22.5);  // 6 degrees of freedom: exceeded once in 1000
  EXPECT_EQ(random.below(1), 0u);
}

TEST(RandomTest, MomentsOfUniformAndNormal) {
  Random random(11);
  constexpr int kDraws = 100'000;
  double uniform = 0, mean = 0, square = 0, fourth = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    uniform += u / kDraws;
    const double x = random.normal();
    ASSERT_TRUE(std::isfinite(x));
    mean += x / kDraws;
    square += x * x / kDraws;
    fourth += x * x * x * x / kDraws;
  }
  // Four standard errors of each mean: variances 1/12, 1, 2 and 96 over the draws.
  const double error = 4 / std::sqrt(kDraws);
  EXPECT_NEAR(uniform, 0.5, error * std::sqrt(1.0 / 12));
  EXPECT_NEAR(mean, 0.0, error);
  EXPECT_NEAR(square, 1.0, error * std::sqrt(2.0));
  EXPECT_NEAR(fourth, 3.0, error * std::sqrt(96.0));
}

}  // namespace
}  // namespace bitsmith
