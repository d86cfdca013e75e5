#include "compressor/budget/ladder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace bitsmith {
namespace {

using Ladders = std::vector<std::vector<std::optional<double>>>;

TEST(WholeLadders, AreBothEndsTheirNeighborsAndSomeBetween) {
  EXPECT_EQ(whole_ladders(0), (std::vector<size_t>{}));
  EXPECT_EQ(whole_ladders(4), (std::vector<size_t>{0, 1, 2, 3}));
  EXPECT_EQ(whole_ladders(6), (std::vector<size_t>{0, 1, 4, 5}));
  EXPECT_EQ(whole_ladders(30), (std::vector<size_t>{0, 1, 10, 19, 28, 29}));
  for (size_t count = 1; count < 200; ++count) {
    const std::vector<size_t> whole = whole_ladders(count);
    EXPECT_EQ(whole.front(), 0u);
    EXPECT_EQ(whole.back(), count - 1);
    for (size_t i = 1; i < whole.size(); ++i) {
      EXPECT_GT(whole[i], whole[i - 1]);
      EXPECT_LE(whole[i] - whole[i - 1], kWholeLadderStep);
    }
  }
}

// Errors of `units` whose ratios grow evenly from block to block; the ends are unlike the others.
Ladders even_ladders(size_t units) {
  Ladders errors(units);
  for (size_t unit = 0; unit < units; ++unit) {
    const bool is_end = unit == 0 || unit + 1 == units;
    const double level = 0.01 * (1 + 0.9 * std::sin(5.0 * static_cast<double>(unit)));
    for (size_t candidate = 0; candidate < 5; ++candidate) {
      const double rate = is_end ? 0.7 : 0.2 * std::exp(0.01 * static_cast<double>(unit));
      errors[unit].push_back(level * std::pow(rate, candidate));
    }
  }
  return errors;
}

TEST(CompletedLadders, AreExactWhereRatiosChangeEvenly) {
  for (const size_t units : {3u, 5u, 12u, 31u}) {
    const Ladders all = even_ladders(units);
    for (const std::vector<size_t>& given : {std::vector<size_t>{1}, std::vector<size_t>{0, 3}}) {
      Ladders some(units);
      for (size_t unit = 0; unit < units; ++unit) {
        some[unit].resize(5);
        for (const size_t candidate : given) some[unit][candidate] = all[unit][candidate];
      }
      for (const size_t unit : whole_ladders(units)) some[unit] = all[unit];
      const auto completed = completed_ladders(some);
      for (size_t unit = 0; unit < units; ++unit) {
        for (size_t candidate = 0; candidate < 5; ++candidate) {
          const double expected = *all[unit][candidate];
          EXPECT_NEAR(completed[unit][candidate], expected, 1e-9 * expected)
              << units << " " << unit << " " << candidate;
          if (some[unit][candidate]) {
            EXPECT_EQ(completed[unit][candidate], expected);
          }
        }
      }
    }
  }
}

TEST(CompletedLadders, AreFiniteWhereThereIsNoError) {
  Ladders errors(6, {0.0, 0.0});
  errors[2] = {0.1, std::nullopt};
  errors[3] = {std::nullopt, 0.0};
  for (const auto& ladder : completed_ladders(errors)) {
    for (const double error : ladder) EXPECT_TRUE(std::isfinite(error) && error >= 0);
  }
}

TEST(InterpolatedKl, IsProportionalToTheErrorBeyondWhatWasMeasured) {
  const std::vector<double> kl = interpolated_kl({0.4, 0.2, 0.1, 0.0}, {{}, 0.06, {}, {}});
  EXPECT_DOUBLE_EQ(kl[0], 0.12);
  EXPECT_DOUBLE_EQ(kl[1], 0.06);
  EXPECT_DOUBLE_EQ(kl[2], 0.03);
  EXPECT_EQ(kl[3], kLeastKl);
}

TEST(InterpolatedKl, IsAPowerOfTheErrorBetweenTwo) {
  const std::vector<double> errors = {1, 0.5, 0.25, 0.125};
  const std::vector<double> kl = interpolated_kl(errors, {{}, 0.5 * 0.5 * 0.5, {}, 0.001953125});
  EXPECT_DOUBLE_EQ(kl[0], 0.25);
  EXPECT_NEAR(kl[2], 0.25 * 0.25 * 0.25, 1e-12);
  // Rounding below zero or above one's neighbor is kept as it was measured, never below the floor.
  EXPECT_EQ(interpolated_kl({0.1, 0.2}, {-1e-9, 0.1})[0], kLeastKl);
}

}  // namespace
}  // namespace bitsmith
