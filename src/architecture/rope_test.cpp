#include "architecture/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace bitsmith {
namespace {

TEST(RopeTest, PlainAndLinear) {
  const RopePlan plain = {.dims = 8};
  const RopePlan linear = {.scaling = RopePlan::Scaling::kLinear, .dims = 8, .factor = 4.0};
  const auto a = rope_inverse_frequencies(plain, 10), b = rope_inverse_frequencies(linear, 10);
  ASSERT_EQ(a.size(), 4u);
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_NEAR(a[i], 1 / std::pow(10000.0, static_cast<double>(i) / 4), 1e-15);
    EXPECT_DOUBLE_EQ(b[i], a[i] / 4);
  }
}

TEST(RopeTest, DynamicGrowsOnlyBeyondTheTrainedContext) {
  const RopePlan plain = {.dims = 8};
  const RopePlan dynamic = {
      .scaling = RopePlan::Scaling::kDynamic, .dims = 8, .factor = 2.0, .trained_context = 64};
  const auto base = rope_inverse_frequencies(plain, 1);
  EXPECT_EQ(rope_length_class(dynamic, 3), rope_length_class(dynamic, 64));
  EXPECT_NE(rope_length_class(dynamic, 65), rope_length_class(dynamic, 64));
  EXPECT_EQ(rope_inverse_frequencies(dynamic, 1), base);
  EXPECT_EQ(rope_inverse_frequencies(dynamic, 64), base);
  const auto longer = rope_inverse_frequencies(dynamic, 128);
  EXPECT_DOUBLE_EQ(longer[0], 1.0);
  // At twice the context and factor 2 the base is 3^(8/6) times larger.
  EXPECT_NEAR(longer[3], std::pow(10000.0 * std::pow(3.0, 8.0 / 6), -0.75), 1e-12);
}

TEST(RopeTest, Llama3KeepsShortWavesAndStretchesLongOnes) {
  const RopePlan plain = {.dims = 64, .theta = 5e5};
  RopePlan scaled = plain;
  scaled.scaling = RopePlan::Scaling::kLlama3;
  scaled.factor = 8.0;
  scaled.trained_context = 8192;
  const auto a = rope_inverse_frequencies(plain, 1), b = rope_inverse_frequencies(scaled, 1);
  int kept = 0, stretched = 0, between = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double wavelength = 2 * std::numbers::pi / a[i];
    const double divisor = a[i] / b[i];
    if (wavelength < 8192 / 4.0) {
      EXPECT_DOUBLE_EQ(divisor, 1.0);
      ++kept;
    } else if (wavelength > 8192) {
      EXPECT_DOUBLE_EQ(divisor, 8.0);
      ++stretched;
    } else {
      EXPECT_GT(divisor, 1.0);
      EXPECT_LT(divisor, 8.0);
      ++between;
    }
  }
  EXPECT_TRUE(kept > 0 && stretched > 0 && between > 0);
}

TEST(RopeTest, YarnKeepsFastPairsAndSlowsSlowOnes) {
  const RopePlan plain = {.dims = 64};
  RopePlan yarn = plain;
  yarn.scaling = RopePlan::Scaling::kYarn;
  yarn.factor = 4.0;
  yarn.trained_context = 4096;
  const auto a = rope_inverse_frequencies(plain, 1), b = rope_inverse_frequencies(yarn, 1);
  // Pairs turn more than 32 times over 4096 positions up to 10, less than once from 23 on.
  for (const size_t pair : {0, 5, 10}) EXPECT_DOUBLE_EQ(b[pair], a[pair]) << pair;
  EXPECT_GT(b[15], a[15] / 4);
  EXPECT_LT(b[15], a[15]);
  for (const size_t pair : {23, 31}) EXPECT_DOUBLE_EQ(b[pair], a[pair] / 4) << pair;
}

TEST(RopeTest, LongRopeHasOtherDivisorsBeyondTheTrainedContext) {
  RopePlan rope = {.scaling = RopePlan::Scaling::kLongRope, .dims = 4, .trained_context = 32};
  rope.short_factors = {1, 2};
  rope.long_factors = {4, 8};
  const auto near = rope_inverse_frequencies(rope, 32), far = rope_inverse_frequencies(rope, 33);
  for (size_t i = 0; i < 2; ++i) EXPECT_DOUBLE_EQ(near[i], 4 * far[i]);
  EXPECT_EQ(rope_length_class(rope, 1), rope_length_class(rope, 32));
  EXPECT_EQ(rope_length_class(rope, 33), rope_length_class(rope, 1000));
  EXPECT_NE(rope_length_class(rope, 32), rope_length_class(rope, 33));
}

}  // namespace
}  // namespace bitsmith
