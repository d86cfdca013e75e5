#include "compressor/objective/half_noise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

#include "compressor/objective/hessian_sum.h"

namespace bitsmith {
namespace {

TEST(ShiftNoise, IsTheNoiseOfTheMeanOfBothHalves) {
  torch::manual_seed(51);
  constexpr double kNoise = 1.5;
  const auto truth = torch::randn({80, 60});
  const auto first = truth + kNoise * torch::randn({80, 60}),
             second = truth + kNoise * torch::randn({80, 60});
  const double noise = shift_noise(Objective(), first, second);
  EXPECT_NEAR(noise, kNoise * kNoise / 2 / (1 + kNoise * kNoise / 2), 0.05);
  // What is left of the mean is nearer to the truth than the mean, and than half of it.
  const auto mean = (first + second) / 2;
  const auto distance = [&](double share) {
    return (share * mean - truth).square().sum().item<double>();
  };
  EXPECT_LT(distance(1 - noise), distance(1));
  EXPECT_LT(distance(1 - noise), distance((1 - noise) / 2));
}

TEST(ShiftNoise, IsMeasuredByTheObjectiveAndBounded) {
  torch::manual_seed(52);
  const auto shift = torch::randn({6, 8});
  auto other = shift.clone();
  other.narrow(0, 0, 3).neg_();  // they agree on the last three rows
  Objective objective(torch::diag(torch::rand({8}) + 0.1));
  EXPECT_DOUBLE_EQ(shift_noise(objective, shift, shift), 0);
  EXPECT_DOUBLE_EQ(shift_noise(objective, shift, -shift), 1);
  EXPECT_DOUBLE_EQ(shift_noise(objective, torch::zeros({6, 8}), torch::zeros({6, 8})), 1);
  EXPECT_GT(shift_noise(objective, shift, other), 0.1);
  objective.output_factor = torch::tensor({0.f, 0.f, 0.f, 1.f, 1.f, 1.f});
  objective.shift = shift;
  EXPECT_NEAR(shift_noise(objective, shift, other), 0, 1e-12);
}

torch::Tensor hessian_of(const torch::Tensor& x) {
  HessianSum sum(x.size(1));
  sum.add(x);
  return sum.hessian();
}

TEST(HessianNoise, DoesNotDependOnTheScaleOfInputs) {
  torch::manual_seed(53);
  const auto x = torch::randn({400, 30}), scale = torch::logspace(-2, 2, 30);
  const auto noise = [](const torch::Tensor& inputs) {
    return hessian_noise(hessian_of(inputs.slice(0, 0, 200)), hessian_of(inputs.slice(0, 200)));
  };
  EXPECT_NEAR(noise(x * scale), noise(x), 1e-3);
  EXPECT_GT(noise(x), 0.6);  // independent inputs: what lies beside the diagonal is chance
  const auto mixed =
      torch::matmul(x.repeat({20, 1}) + 0.1 * torch::randn({8000, 30}), torch::randn({30, 30}));
  EXPECT_LT(hessian_noise(hessian_of(mixed.slice(0, 0, 4000)), hessian_of(mixed.slice(0, 4000))),
            0.05);
  auto dead = x.clone();
  dead.select(1, 3).zero_();
  EXPECT_TRUE(std::isfinite(noise(dead)));
}

TEST(ShrunkHessian, KeepsItsDiagonalAndComesNearerToTheTruth) {
  torch::manual_seed(54);
  constexpr int64_t kIn = 40;
  const auto mix = torch::eye(kIn) + 0.15 * torch::randn({kIn, kIn});
  const auto truth = 2 * torch::matmul(mix.t(), mix);
  const auto x = torch::matmul(torch::randn({60, kIn}), mix);
  const auto hessian = hessian_of(x);
  const double noise = hessian_noise(hessian_of(x.slice(0, 0, 30)), hessian_of(x.slice(0, 30)));
  const auto shrunk = shrunk_hessian(hessian, noise);
  EXPECT_TRUE(torch::equal(shrunk.diagonal(), hessian.diagonal()));
  EXPECT_TRUE(torch::equal(shrunk, shrunk.t()));
  EXPECT_GT(std::get<0>(torch::linalg_eigh(shrunk)).min().item<float>(), 0);
  EXPECT_LT((shrunk - truth).norm().item<double>(), (hessian - truth).norm().item<double>());
  EXPECT_TRUE(torch::equal(shrunk_hessian(hessian, 0), hessian));
}

}  // namespace
}  // namespace bitsmith
