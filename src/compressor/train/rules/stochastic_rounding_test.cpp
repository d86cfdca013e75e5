#include "compressor/train/rules/stochastic_rounding.h"

#include <gtest/gtest.h>

#include <cmath>

#include "compressor/train/test_matrices.h"

namespace bitsmith {
namespace {

Random draw(int64_t number) { return CodeDraws{.seed = 9, .matrix = 1}.at(number); }

// Equation of appendix F: between two levels the mean is the target.
TEST(StochasticRounding, IsUnbiasedBetweenTheLevelsOfAGrid) {
  const auto representation = random_representation("int3g16", 4, 32);
  const CodedTerm& term = representation->coded();
  const torch::NoGradGuard no_grad;
  const auto target = 0.4 * term.dequantize();  // inside the grids' ranges
  constexpr int kDraws = 2000;
  auto mean = torch::zeros({4 * 32, 1}, torch::kDouble);
  for (int i = 0; i < kDraws; ++i) {
    mean += term.decode_code_groups({}, round_stochastically(term, target, 1.0, draw(i)));
  }
  mean /= kDraws;
  // Levels are at most 1.5 apart: a draw's standard deviation is at most 0.75.
  const double tolerance = 5 * 0.75 / std::sqrt(kDraws);
  EXPECT_LT((mean - target.reshape({-1, 1})).abs().max().item<double>(), tolerance);
}

class RoundingOf : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    torch::manual_seed(12);
    const torch::NoGradGuard no_grad;
    const auto weight = term_.dequantize();
    target_ = weight + 0.3 * weight.square().mean().sqrt() * torch::randn({48, 64});
    nearest_ = term_.search_codes(target_, {}, {});
    second_ = term_.search_neighbors(target_, nearest_, {});
  }
  torch::Tensor distances(const torch::Tensor& codes) const {
    const auto wanted = target_.reshape({term_.num_code_groups(), -1}).to(torch::kDouble);
    return (term_.decode_code_groups({}, codes) - wanted).square().sum(1).sqrt();
  }
  const std::unique_ptr<Representation> representation_ = random_representation(GetParam(), 48, 64);
  CodedTerm& term_ = representation_->coded();
  torch::Tensor target_, nearest_, second_;
};

TEST_P(RoundingOf, DrawsTheTwoCandidatesInverselyToTheirDistances) {
  for (const double temperature : {1.0, 0.5}) {
    const auto near = distances(nearest_).pow(-1 / temperature),
               far = distances(second_).pow(-1 / temperature);
    const auto expected = far / (near + far);
    constexpr int kDraws = 400;
    auto share = torch::zeros({term_.num_code_groups()}, torch::kDouble);
    for (int i = 0; i < kDraws; ++i) {
      const auto codes = round_stochastically(term_, target_, temperature, draw(i));
      const auto is_second = (codes == second_).all(1), is_nearest = (codes == nearest_).all(1);
      ASSERT_TRUE(torch::logical_or(is_second, is_nearest).all().item<bool>());
      share += is_second;
    }
    share /= kDraws;
    const double n = static_cast<double>(share.numel());
    EXPECT_LT((share - expected).abs().max().item<double>(), 6 * 0.5 / std::sqrt(kDraws));
    EXPECT_NEAR(share.mean().item<double>(), expected.mean().item<double>(),
                5 * 0.5 / std::sqrt(kDraws * n));
  }
}

TEST_P(RoundingOf, AtTemperatureZeroTheNearestOfTheTwo) {
  const auto codes = round_stochastically(term_, target_, 0, draw(0));
  const auto lowest = torch::minimum(distances(nearest_), distances(second_));
  EXPECT_TRUE(torch::allclose(distances(codes), lowest, 1e-5, 1e-7));
}

TEST_P(RoundingOf, IsAFunctionOfItsDraws) {
  const auto one = round_stochastically(term_, target_, 1.0, draw(1));
  EXPECT_TRUE(torch::equal(one, round_stochastically(term_, target_, 1.0, draw(1))));
  EXPECT_FALSE(torch::equal(one, round_stochastically(term_, target_, 1.0, draw(2))));
}

INSTANTIATE_TEST_SUITE_P(Representations, RoundingOf, testing::ValuesIn(kEveryRepresentation),
                         [](const auto& info) { return test_name(info.param); });

// What naive_pv() rounds back moves here, by its update in the mean.
TEST(StochasticRounding, ShortUpdatesMoveTheMatrixInTheMean) {
  TrainedMatrix matrix("int3g16", 32, 64);
  const torch::NoGradGuard no_grad;
  CodedTerm& term = matrix.term();
  term.codes().fill_(4);  // inside the grid: two levels on either side
  const auto before = term.dequantize().clone();
  const auto rule =
      stochastic_rounding({.step = 0.1}, {.distance = 0.5, .schedule = {.p_steps = 1, .start = 0}});
  const auto change = rule->step(term, torch::ones({32, 64}), {.step = 1});
  ASSERT_TRUE(change);
  EXPECT_GT(change->changed, 0);
  // Adam's first direction is 1. A draw's variance is at most 0.05 * 1.5.
  const double moved = (term.dequantize() - before).mean().item<double>();
  EXPECT_NEAR(moved, -0.1 * 0.5, 5 * std::sqrt(0.075 / (32 * 64)));
}

}  // namespace
}  // namespace bitsmith
