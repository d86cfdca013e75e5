#include "compressor/train/rules/naive_pv.h"

#include <gtest/gtest.h>

#include "compressor/train/rules/subspace_pv.h"
#include "compressor/train/test_matrices.h"
#include "compressor/train/test_rules.h"

namespace bitsmith {
namespace {

class NaivePvOf : public testing::TestWithParam<const char*> {};

TEST_P(NaivePvOf, IsSubspacePvOfEverythingWithoutATrustRatio) {
  TrainedMatrix first(GetParam(), 48, 64), second(GetParam(), 48, 64);
  const RuleSetup setup = {.distance = 0.1, .schedule = {.p_steps = 2, .start = 0}};
  const auto naive = naive_pv(10, setup);
  const auto all = subspace_pv(10, {.trust_ratio = 1e9, .chunk = 1.0, .max_chunks = 1}, setup);
  expect_same_codes(first.term(), *naive, second.term(), *all, 6);
}

INSTANTIATE_TEST_SUITE_P(Representations, NaivePvOf, testing::ValuesIn(kEveryRepresentation),
                         [](const auto& info) { return test_name(info.param); });

// The paper's key challenge: updates of less than half of the distance between codes round back.
TEST(NaivePv, ShortUpdatesChangeNothingAndDoNotAddUp) {
  TrainedMatrix matrix("int3g16", 8, 16);
  const double smallest = 0.5;  // scales of random_representation() are at least this
  const auto rule = naive_pv(0.4, {.distance = smallest, .schedule = {.p_steps = 1, .start = 0}});
  for (int64_t step = 1; step <= 30; ++step) {
    const auto change = rule->step(matrix.term(), torch::ones({8, 16}), {.step = step});
    ASSERT_TRUE(change);
    EXPECT_EQ(change->changed, 0);
  }
}

}  // namespace
}  // namespace bitsmith
