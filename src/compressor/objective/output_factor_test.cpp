#include "compressor/objective/output_factor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "compressor/objective/hessian_sum.h"
#include "compressor/objective/inverse_factor.h"

namespace bitsmith {
namespace {

constexpr double kFactorDamping = 1e-3;

SecondMoment moment_of(const torch::Tensor& samples) {
  HessianSum sum(samples.size(1));
  sum.add(samples);
  return {sum.hessian(), sum.weight()};
}

// Gradients whose rows hang together: samples @ mixing().
torch::Tensor mixing(int64_t out) {
  return torch::eye(out) + 0.8 * torch::randn({out, out}) / std::sqrt(static_cast<double>(out));
}

TEST(SecondMoment, JoinsToThatOfAllSamples) {
  torch::manual_seed(71);
  const auto samples = torch::randn({50, 7});
  const SecondMoment whole = moment_of(samples);
  const SecondMoment parts =
      joined(moment_of(samples.slice(0, 0, 13)), moment_of(samples.slice(0, 13)));
  EXPECT_TRUE(torch::allclose(parts.matrix, whole.matrix, 1e-5, 1e-6));
  EXPECT_EQ(parts.weight, whole.weight);
  const SecondMoment none = moment_of(samples.slice(0, 0, 0));
  EXPECT_TRUE(torch::equal(joined(whole, none).matrix, whole.matrix));
  EXPECT_TRUE(torch::equal(joined(none, none).matrix, torch::zeros({7, 7})));
}

TEST(FeedbackMatrix, FactorsTheInverse) {
  torch::manual_seed(72);
  const auto hessian = moment_of(torch::randn({60, 9})).matrix;
  const auto feedback = feedback_matrix(hessian, 0);
  EXPECT_TRUE(torch::allclose(feedback, feedback.triu()));
  EXPECT_TRUE(torch::allclose(feedback.diagonal(), torch::ones({9})));
  const auto squares = inverse_factor(hessian, 0).diagonal().square().unsqueeze(1);
  const auto product = torch::matmul(feedback.t(), squares * feedback);
  EXPECT_TRUE(torch::allclose(torch::matmul(product, hessian), torch::eye(9), 1e-3, 1e-4));
}

// The expected squares, one number of the noise after another.
TEST(HeldOutCost, IsTheExpectedSquareOverNoise) {
  torch::manual_seed(73);
  constexpr int64_t kOut = 4, kIn = 3, kWindows = 5;
  const auto tokens = torch::matmul(torch::randn({300, kOut}), mixing(kOut));
  const auto windows = torch::randn({kWindows, kOut, kIn});  // D of each
  const auto sizes = torch::rand({kOut}) + 0.1;
  const auto of_inputs = feedback_matrix(moment_of(torch::randn({40, kIn})).matrix, kFactorDamping);
  HessianSum held_out(kOut);
  for (int64_t w = 0; w < kWindows; ++w) held_out.add(torch::matmul(windows[w], of_inputs.t()).t());
  const OutputFactorEstimate estimate =
      estimate_output_factor({moment_of(tokens.slice(0, 0, 150)),
                              moment_of(tokens.slice(0, 150)),
                              {held_out.hessian(), held_out.weight()}},
                             sizes, kFactorDamping);

  const auto of_rows = feedback_matrix(estimate.factor, kFactorDamping);
  double with = 0, without = 0;
  for (int64_t r = 0; r < kOut; ++r) {
    for (int64_t c = 0; c < kIn; ++c) {
      auto noise = torch::zeros({kOut, kIn});
      noise[r][c] = sizes[r];
      const auto plain = torch::matmul(noise, of_inputs);
      const auto shaped = torch::matmul(of_rows.t(), plain);
      for (int64_t w = 0; w < kWindows; ++w) {
        without += std::pow((plain * windows[w]).sum().item<double>(), 2);
        with += std::pow((shaped * windows[w]).sum().item<double>(), 2);
      }
    }
  }
  EXPECT_NEAR(estimate.held_out_cost, with / without, 1e-4);
}

TEST(OutputFactor, HoldsWhereHeldOutGradientsHaveItsStructure) {
  torch::manual_seed(74);
  constexpr int64_t kOut = 24;
  const auto mix = mixing(kOut);
  const auto samples = [&](int64_t n) { return torch::matmul(torch::randn({n, kOut}), mix); };
  const OutputMoments moments{moment_of(samples(1500)), moment_of(samples(1500)),
                              moment_of(samples(300))};
  const OutputFactorEstimate estimate =
      estimate_output_factor(moments, torch::ones({kOut}), kFactorDamping);
  EXPECT_TRUE(estimate.holds());
  EXPECT_LT(estimate.held_out_cost, 0.9);
  EXPECT_LT(estimate.shrinkage, 0.1);
  EXPECT_NEAR(estimate.factor.diagonal().mean().item<double>(), 1, 1e-5);
  auto truth = torch::matmul(mix.t(), mix);
  truth = truth / truth.diagonal().mean();
  EXPECT_LT((estimate.factor - truth).norm().item<double>(), 0.15 * truth.norm().item<double>());
  // The scale of gradients does not count.
  OutputMoments larger = moments;
  for (SecondMoment* part : {&larger.first, &larger.second, &larger.held_out})
    part->matrix = part->matrix * 64;
  EXPECT_NEAR(estimate_output_factor(larger, torch::ones({kOut}), kFactorDamping).held_out_cost,
              estimate.held_out_cost, 1e-6);
}

TEST(OutputFactor, DoesNotHoldWhereItIsNoise) {
  torch::manual_seed(75);
  constexpr int64_t kOut = 24;
  const auto samples = [](int64_t n) { return moment_of(torch::randn({n, kOut})); };
  // Chance that the halves share, which shrinkage does not find.
  const SecondMoment few = samples(48);
  const OutputFactorEstimate fooled =
      estimate_output_factor({few, few, samples(500)}, torch::ones({kOut}), kFactorDamping);
  EXPECT_EQ(fooled.shrinkage, 0);
  EXPECT_FALSE(fooled.holds());
  EXPECT_GT(fooled.held_out_cost, 1.1);
  // Structure that held-out windows do not have.
  const auto mixed = [mix = mixing(kOut)](int64_t n) {
    return moment_of(torch::matmul(torch::randn({n, kOut}), mix));
  };
  EXPECT_FALSE(estimate_output_factor({mixed(1500), mixed(1500), samples(500)}, torch::ones({kOut}),
                                      kFactorDamping)
                   .holds());
  // Independent halves: next to nothing is left beside the diagonal.
  EXPECT_GT(estimate_output_factor({samples(48), samples(48), samples(500)}, torch::ones({kOut}),
                                   kFactorDamping)
                .shrinkage,
            0.5);
}

TEST(OutputFactor, OfOneRowOrNoGradientsIsNone) {
  torch::manual_seed(76);
  const auto one = moment_of(torch::randn({20, 1}));
  const OutputFactorEstimate row =
      estimate_output_factor({one, one, one}, torch::ones({1}), kFactorDamping);
  EXPECT_DOUBLE_EQ(row.held_out_cost, 1);
  EXPECT_FALSE(row.holds());
  const auto none = moment_of(torch::zeros({0, 5})), zero = moment_of(torch::zeros({8, 5}));
  const auto some = moment_of(torch::randn({30, 5}));
  EXPECT_FALSE(
      estimate_output_factor({none, none, some}, torch::ones({5}), kFactorDamping).holds());
  EXPECT_FALSE(
      estimate_output_factor({zero, zero, some}, torch::ones({5}), kFactorDamping).holds());
  EXPECT_FALSE(
      estimate_output_factor({some, some, none}, torch::ones({5}), kFactorDamping).holds());
  EXPECT_FALSE(
      estimate_output_factor({some, none, some}, torch::ones({5}), kFactorDamping).holds());
}

}  // namespace
}  // namespace bitsmith
