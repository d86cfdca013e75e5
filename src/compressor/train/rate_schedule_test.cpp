#include "compressor/train/rate_schedule.h"

#include <gtest/gtest.h>

#include <cmath>

namespace bitsmith {
namespace {

TEST(RateSchedule, GoesFromOneToTheFinalRate) {
  for (const Schedule schedule : {Schedule::kLinear, Schedule::kCosine}) {
    const RateSchedule rates{.schedule = schedule, .final_rate = 0.2};
    EXPECT_EQ(rates.rate(1, 0), 1);
    EXPECT_NEAR(rates.rate(50, 0.5), 0.6, 1e-12);
    EXPECT_NEAR(rates.rate(100, 1), 0.2, 1e-12);
    for (double share = 0; share < 1; share += 0.01)
      EXPECT_GT(rates.rate(1, share), rates.rate(1, share + 0.01));
  }
  const RateSchedule cosine{.schedule = Schedule::kCosine, .final_rate = 0};
  EXPECT_NEAR(cosine.rate(1, 0.25), (1 + std::sqrt(0.5)) / 2, 1e-12);
  const RateSchedule constant{.schedule = Schedule::kConstant, .final_rate = 0.2};
  EXPECT_EQ(constant.rate(1, 0), 1);
  EXPECT_EQ(constant.rate(100, 0.99), 1);
}

TEST(RateSchedule, WarmUpRisesEvenly) {
  const RateSchedule rates{.schedule = Schedule::kConstant, .warmup_steps = 4};
  for (int64_t step = 1; step <= 6; ++step)
    EXPECT_EQ(rates.rate(step, 0.1), step < 4 ? static_cast<double>(step) / 4 : 1.0);
}

}  // namespace
}  // namespace bitsmith
