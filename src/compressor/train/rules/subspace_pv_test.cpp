#include "compressor/train/rules/subspace_pv.h"

#include <gtest/gtest.h>

#include <map>

#include "compressor/train/test_matrices.h"

namespace bitsmith {
namespace {

TEST(SubspacePv, SearchesWhenDueAndDropsTheMomentumOfWhatChanged) {
  TrainedMatrix matrix("aq1x4g4", 16, 16);
  const auto rule = subspace_pv(3.0, {.trust_ratio = 0.5, .chunk = 0.1},
                                {.distance = 1.0, .schedule = {.p_steps = 2, .start = 0.5}});
  std::map<std::string, torch::Tensor> state;
  const auto before = matrix.term().codes().clone();
  const auto gradient = torch::ones({16, 16});
  EXPECT_FALSE(rule->step(matrix.term(), gradient, {.step = 1, .share = 0.9}));
  EXPECT_FALSE(rule->step(matrix.term(), gradient, {.step = 2, .share = 0.4}));
  EXPECT_FALSE(rule->step(matrix.term(), gradient, {.step = 3, .share = 0.5}));
  EXPECT_TRUE(torch::equal(matrix.term().codes(), before));
  const auto change = rule->step(matrix.term(), gradient, {.step = 4, .share = 0.5});
  ASSERT_TRUE(change);
  EXPECT_GT(change->changed, 0);
  EXPECT_NEAR(change->update_power, 1.0, 0.05);  // a gradient that never changes
  rule->visit("matrix", [&](const std::string& name, torch::Tensor& t) { state[name] = t; });
  const auto changed = (matrix.term().codes() != before).any(1);
  const auto spent = (state.at("matrix.first").reshape({-1, 4}) == 0).all(1);
  EXPECT_TRUE(torch::equal(changed, spent));
}

}  // namespace
}  // namespace bitsmith
