#include "compressor/train/rules/pv_straight_through.h"

#include <gtest/gtest.h>

#include "compressor/train/rules/straight_through.h"
#include "compressor/train/rules/subspace_pv.h"
#include "compressor/train/test_matrices.h"
#include "compressor/train/test_rules.h"

namespace bitsmith {
namespace {

class PvStraightThroughOf : public testing::TestWithParam<const char*> {};

TEST_P(PvStraightThroughOf, IsStraightThroughWithASubspaceOfEverything) {
  TrainedMatrix first(GetParam(), 48, 64), second(GetParam(), 48, 64);
  const RuleSetup setup = {.distance = 0.1, .schedule = {.p_steps = 2, .start = 0}};
  const LatentOptions latent = {.rate = 2.0};
  const auto both = pv_straight_through(first.term(), latent,
                                        {.trust_ratio = 1e9, .chunk = 1.0, .max_chunks = 1}, setup);
  const auto ste = straight_through(second.term(), latent, setup);
  expect_same_codes(first.term(), *both, second.term(), *ste, 6);
}

TEST_P(PvStraightThroughOf, IsSubspacePvWhereLatentWeightsForgetAll) {
  TrainedMatrix first(GetParam(), 48, 64), second(GetParam(), 48, 64);
  // An epsilon that lets the first updates differ in length, as all later ones do.
  const RuleSetup setup = {.distance = 0.1,
                           .schedule = {.p_steps = 1, .start = 0},
                           .adam = {.beta1 = 0.98, .epsilon = 0.3}};
  const SubspaceOptions subspace = {.trust_ratio = 0.3, .chunk = 0.1};
  const auto both = pv_straight_through(first.term(), {.rate = 3.0, .decay = 1}, subspace, setup);
  const auto pv = subspace_pv(3.0, subspace, setup);
  expect_same_codes(first.term(), *both, second.term(), *pv, 6);
}

INSTANTIATE_TEST_SUITE_P(Representations, PvStraightThroughOf,
                         testing::ValuesIn(kEveryRepresentation),
                         [](const auto& info) { return test_name(info.param); });

TEST(PvStraightThrough, SmallStepsAddUpAndTheTrustRatioHolds) {
  TrainedMatrix matrix("int3g16", 8, 64);
  const double distance = 0.3, trust_ratio = 0.5;
  const auto rule =
      pv_straight_through(matrix.term(), {.rate = 0.05}, {.trust_ratio = trust_ratio, .chunk = 1.0},
                          {.distance = distance, .schedule = {.p_steps = 1, .start = 0}});
  int64_t first = 0, all = 0;
  for (int64_t step = 1; step <= 60; ++step) {
    const auto before = matrix.term().dequantize().detach().clone();
    const auto change = rule->step(matrix.term(), torch::ones({8, 64}), {.step = step});
    ASSERT_TRUE(change);
    if (step == 1) first = change->changed;
    all += change->changed;
    if (change->changed <= 1) continue;
    const auto moved = (matrix.term().dequantize().detach() - before).square().mean().sqrt();
    EXPECT_LE(moved.item<double>(), trust_ratio * distance * (1 + 1e-5));
  }
  EXPECT_EQ(first, 0);
  EXPECT_GT(all, 0);
}

}  // namespace
}  // namespace bitsmith
