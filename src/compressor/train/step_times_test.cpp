#include "compressor/train/step_times.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace bitsmith {
namespace {

// Until the clock has seen it.
void let_time_pass() {
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() == start) continue;
}

// The parts that took any time.
std::set<StepPart> parts_of(const StepSeconds& seconds) {
  std::set<StepPart> parts;
  for (size_t i = 0; i < kStepParts; ++i) {
    if (seconds[i] > 0) parts.insert(static_cast<StepPart>(i));
  }
  return parts;
}

TEST(StepClock, CountsThePartsThatAreMarked) {
  StepClock clock;
  {
    const TimedPart part(StepPart::kStudent);
    let_time_pass();
  }
  let_time_pass();
  EXPECT_EQ(parts_of(clock.seconds()), (std::set{StepPart::kStudent, StepPart::kOther}));
}

TEST(StepClock, APartInsideOfAnotherStopsIt) {
  StepClock clock;
  const TimedPart outer(StepPart::kCodes);
  let_time_pass();
  const StepSeconds before = clock.seconds();
  {
    const TimedPart inner(StepPart::kOptimizer);
    clock.seconds();
    let_time_pass();
    const StepSeconds inside = clock.seconds();
    EXPECT_GT(inside[static_cast<size_t>(StepPart::kOptimizer)], 0);
    let_time_pass();
    EXPECT_EQ(clock.seconds()[static_cast<size_t>(StepPart::kCodes)],
              inside[static_cast<size_t>(StepPart::kCodes)]);
  }
  let_time_pass();
  EXPECT_GT(clock.seconds()[static_cast<size_t>(StepPart::kCodes)],
            before[static_cast<size_t>(StepPart::kCodes)]);
}

TEST(StepClock, TheYoungestCounts) {
  StepClock old;
  StepSeconds inside;
  {
    StepClock young;
    const TimedPart part(StepPart::kLoss);
    let_time_pass();
    inside = young.seconds();
  }
  EXPECT_TRUE(parts_of(inside).contains(StepPart::kLoss));
  EXPECT_FALSE(parts_of(old.seconds()).contains(StepPart::kLoss));
}

TEST(StepClock, NobodyNeedsOne) { const TimedPart part(StepPart::kBackward); }

TEST(StepPart, NamesDiffer) {
  std::set<std::string> names;
  for (size_t i = 0; i < kStepParts; ++i) names.insert(step_part_name(static_cast<StepPart>(i)));
  EXPECT_EQ(names.size(), kStepParts);
}

}  // namespace
}  // namespace bitsmith
