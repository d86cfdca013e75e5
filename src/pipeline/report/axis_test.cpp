#include "pipeline/report/axis.h"

#include <gtest/gtest.h>

#include <cmath>

namespace bitsmith {
namespace {

using Values = std::vector<double>;

void expect_near(const Values& found, const Values& expected) {
  ASSERT_EQ(found.size(), expected.size()) << ::testing::PrintToString(found);
  for (size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], 1e-9 * std::abs(expected[i]) + 1e-12);
}

TEST(LinearTicks, AreRoundNumbers) {
  expect_near(linear_ticks(0, 10, 5), {0, 2, 4, 6, 8, 10});
  expect_near(linear_ticks(43, 112, 6), {60, 80, 100});
  expect_near(linear_ticks(0.013, 0.031, 5), {0.015, 0.02, 0.025, 0.03});
  expect_near(linear_ticks(-3, 4, 4), {-2, 0, 2, 4});
  expect_near(linear_ticks(0, 1, 6, /*whole=*/true), {0, 1});
}

TEST(LinearTicks, AreFewAndInOrderWhateverTheRange) {
  for (const double low : {-1e18, -5.0, 0.0, 1e-300, 1.0, 123456789.0}) {
    for (const double length : {1e-9, 1e-3, 1.0, 7.7, 1e6, 1e18}) {
      const double high = low + length;
      if (!(low < high)) continue;
      const Values ticks = linear_ticks(low, high, 6);
      EXPECT_LE(ticks.size(), 7u);
      for (size_t i = 1; i < ticks.size(); ++i) EXPECT_GE(ticks[i], ticks[i - 1]);
    }
  }
}

TEST(LogTicks, AreOneTwoFiveWhereThereIsRoom) {
  expect_near(log_ticks(0.04, 0.9, 6), {0.05, 0.1, 0.2, 0.5});
  expect_near(log_ticks(0.001, 100, 6), {0.001, 0.01, 0.1, 1, 10, 100});
  EXPECT_LE(log_ticks(1e-17, 1e17, 6).size(), 7u);
  EXPECT_GE(log_ticks(1e-17, 1e17, 6).size(), 3u);
}

TEST(FittingAxis, SpansItsValues) {
  for (const Values& values : {Values{3}, Values{0}, Values{-2, 5}, Values{0.01, 2}, Values{1, 9},
                               Values{1e18, 1e18}, Values{1e-17, 1e18}, Values{0, 1000}}) {
    for (const AxisScale scale :
         {AxisScale::kLinear, AxisScale::kWhole, AxisScale::kLogWhereWide}) {
      const Axis axis = fitting_axis(values, scale);
      ASSERT_LT(axis.low, axis.high);
      for (const double value : values) {
        EXPECT_GE(axis.place(value), 0);
        EXPECT_LE(axis.place(value), 1);
      }
      for (const double tick : axis.ticks) {
        EXPECT_GE(axis.place(tick), -1e-6);
        EXPECT_LE(axis.place(tick), 1 + 1e-6);
      }
    }
  }
}

TEST(FittingAxis, IsLogarithmicWhereValuesSpreadMoreThanTenfold) {
  EXPECT_TRUE(fitting_axis({0.05, 0.51}, AxisScale::kLogWhereWide).logarithmic);
  EXPECT_FALSE(fitting_axis({0.05, 0.5}, AxisScale::kLogWhereWide).logarithmic);
  EXPECT_FALSE(fitting_axis({0, 0.5}, AxisScale::kLogWhereWide).logarithmic);
  EXPECT_FALSE(fitting_axis({0.05, 500}, AxisScale::kLinear).logarithmic);
  const Axis axis = fitting_axis({0.01, 1}, AxisScale::kLogWhereWide);
  EXPECT_NEAR(axis.place(0.1), 0.5, 1e-12);
}

TEST(TickLabel, IsShort) {
  EXPECT_EQ(tick_label(0.05), "0.05");
  EXPECT_EQ(tick_label(120), "120");
  EXPECT_EQ(tick_label(25000), "25k");
  EXPECT_EQ(tick_label(1500000), "1.5M");
  EXPECT_EQ(tick_label(0), "0");
  EXPECT_EQ(tick_label(-20000), "-20k");
}

}  // namespace
}  // namespace bitsmith
