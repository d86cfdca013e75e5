#include "compressor/train/rules/subspace_pv.h"

#include <gtest/gtest.h>

#include <map>

#include "compressor/train/test_matrices.h"

namespace bitsmith {
namespace {

class VStep : public testing::TestWithParam<const char*> {};

TEST_P(VStep, KeepsTheTrustRegionAndGoesDownhill) {
  const auto representation = random_representation(GetParam(), 48, 64);
  torch::manual_seed(4);
  const auto direction = torch::randn({48, 64});
  const auto before = representation->dequantize().detach().clone();
  const auto codes_before = representation->coded().codes().clone();
  const double distance = before.square().mean().sqrt().item<double>();
  SubspacePvOptions options{.step = 1.0, .trust_ratio = 0.15, .chunk = 0.02, .max_chunks = 50};
  const VStepResult result = v_step(representation->coded(), direction, distance, options);
  const auto change = representation->dequantize().detach() - before;
  const double change_rms = change.square().mean().sqrt().item<double>();
  EXPECT_GT(result.changed.numel(), 0);
  EXPECT_LE(change_rms, options.trust_ratio * distance * (1 + 1e-5));
  EXPECT_NEAR(change_rms, result.change, 1e-5);
  // Nearest codes to W - step * direction: the linearized objective falls.
  EXPECT_LT((representation->to_code_space(change) * direction).sum().item<double>(), 0.0);
  const auto differ = (representation->coded().codes() != codes_before).any(1).nonzero().squeeze(1);
  EXPECT_TRUE(torch::equal(differ, std::get<0>(result.changed.sort())));
}

TEST_P(VStep, ChangesNothingWithoutAnUpdate) {
  const auto representation = random_representation(GetParam(), 32, 32);
  const auto before = representation->dequantize().detach().clone();
  v_step(representation->coded(), torch::zeros({32, 32}), 0.1, {});
  EXPECT_TRUE(torch::equal(representation->dequantize().detach(), before));
}

TEST_P(VStep, ChangesOnlyGroupsWithTheLargestUpdates) {
  const auto representation = random_representation(GetParam(), 48, 64);
  CodedTerm& term = representation->coded();
  torch::manual_seed(5);
  const auto direction = torch::randn({48, 64});
  const auto before = term.dequantize().detach().clone();
  const int64_t g = term.code_group_size(), code_groups = term.num_code_groups();
  const SubspacePvOptions options{.step = 3.0, .trust_ratio = 1e3, .chunk = 0.05, .max_chunks = 1};
  const auto chosen = std::get<1>(
      direction.reshape({code_groups, g}).square().sum(1).topk((code_groups + 19) / 20));
  v_step(term, direction, before.square().mean().sqrt().item<double>(), options);
  auto change = (term.dequantize().detach() - before).reshape({code_groups, g});
  EXPECT_GT(change.abs().max().item<double>(), 0);
  change.index_fill_(0, chosen, 0);
  EXPECT_EQ(change.abs().max().item<double>(), 0);
}

INSTANTIATE_TEST_SUITE_P(Representations, VStep,
                         testing::Values("int3g16", "aq1x4g4", "aq2x8g8", "aq1x4g4-s4x2",
                                         "gvq2d2b-n512", "e8p", "e8p3", "int3g16+lr2",
                                         "had:int3g16", "had:e8p"));

// Without a trust region and in one chunk: the nearest code of every code group.
TEST(SubspacePv, FindsTheCodesThatTryingAllFinds) {
  for (const auto& [spec, count] : {std::pair{"aq1x4g4", 16}, std::pair{"int3g16", 8}}) {
    TrainedMatrix matrix(spec, 16, 16);
    CodedTerm& term = matrix.term();
    torch::manual_seed(7);
    const auto direction = torch::randn({16, 16});
    const auto target = term.dequantize().detach() - 0.2 * direction;
    v_step(term, direction, 0.1, {.step = 2.0, .trust_ratio = 1e6, .chunk = 1.0, .max_chunks = 1});
    const auto expected = nearest_codes_by_trial(term, target, count);
    const auto code_groups = torch::arange(term.num_code_groups());
    EXPECT_TRUE(torch::equal(term.decode_code_groups(code_groups, term.codes()),
                             term.decode_code_groups(code_groups, expected)))
        << spec;
  }
}

TEST(SubspacePv, SearchesWhenDueAndDropsTheMomentumOfWhatChanged) {
  TrainedMatrix matrix("aq1x4g4", 16, 16);
  const auto rule = subspace_pv(1.0, {.step = 3.0, .trust_ratio = 0.5, .chunk = 0.1},
                                {.interval = 2, .start = 0.5}, kCodeAdam);
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
