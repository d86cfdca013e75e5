#include "compressor/train/rules/straight_through.h"

#include <gtest/gtest.h>

#include <map>

#include "compressor/train/test_matrices.h"

namespace bitsmith {
namespace {

torch::Tensor latent_of(CodeRule& rule) {
  torch::Tensor latent;
  rule.visit("matrix", [&](const std::string& name, torch::Tensor& tensor) {
    if (name == "matrix.latent") latent = tensor;
  });
  return latent;
}

TEST(StraightThrough, LatentTakesAdamsStepsFromTheQuantizedWeights) {
  TrainedMatrix matrix("aq1x4g4", 8, 16);
  const auto start = matrix.term().dequantize().detach().clone();
  const auto codes = matrix.term().codes().clone();
  const auto rule = straight_through(matrix.term(), {.rate = 0.1},
                                     {.distance = 0.5, .schedule = {.p_steps = 100, .start = 0}});
  torch::manual_seed(8);
  const auto gradient = torch::randn({8, 16});
  EXPECT_FALSE(rule->step(matrix.term(), gradient, {.step = 1, .share = 0, .rate = 0.5}));
  // Adam's first direction is the gradient's sign.
  const auto expected = start - 0.5 * 0.1 * 0.5 * gradient.sign();
  EXPECT_LT((latent_of(*rule) - expected).abs().max().item<double>(), 1e-5);
  EXPECT_TRUE(torch::equal(matrix.term().codes(), codes));
}

TEST(StraightThrough, CodesAreTheNearestToTheLatentAfterAVStep) {
  for (const auto& [spec, count] : {std::pair{"aq1x4g4", 16}, std::pair{"int3g16-z", 8}}) {
    TrainedMatrix matrix(spec, 16, 16);
    CodedTerm& term = matrix.term();
    const auto before = term.codes().clone();
    const auto rule = straight_through(term, {.rate = 1.0},
                                       {.distance = 0.3, .schedule = {.p_steps = 2, .start = 0}});
    torch::manual_seed(9);
    rule->step(term, torch::randn({16, 16}), {.step = 1});
    const auto change = rule->step(term, torch::randn({16, 16}), {.step = 2});
    ASSERT_TRUE(change) << spec;
    EXPECT_EQ(change->changed, (term.codes() != before).any(1).sum().item<int64_t>());
    EXPECT_GT(change->changed, 0) << spec;
    const auto code_groups = torch::arange(term.num_code_groups());
    const auto expected = nearest_codes_by_trial(term, latent_of(*rule), count);
    EXPECT_TRUE(torch::equal(term.decode_code_groups(code_groups, term.codes()),
                             term.decode_code_groups(code_groups, expected)))
        << spec;
  }
}

// What single steps are too short for, their sum does.
TEST(StraightThrough, SmallStepsAddUpUntilACodeFlips) {
  TrainedMatrix matrix("int3g16", 4, 16);
  const auto rule = straight_through(matrix.term(), {.rate = 0.05},
                                     {.distance = 0.3, .schedule = {.p_steps = 1, .start = 0}});
  int64_t first = 0, all = 0;
  for (int64_t step = 1; step <= 60; ++step) {
    const auto change = rule->step(matrix.term(), torch::ones({4, 16}), {.step = step});
    if (step == 1) first = change->changed;
    all += change->changed;
  }
  EXPECT_EQ(first, 0);
  EXPECT_GT(all, 0);
}

}  // namespace
}  // namespace bitsmith
