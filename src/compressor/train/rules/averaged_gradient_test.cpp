#include "compressor/train/rules/averaged_gradient.h"

#include <gtest/gtest.h>

#include "compressor/train/test_matrices.h"

namespace bitsmith {
namespace {

TEST(AveragedGradient, IsTheRunningMeanAndMovesNoCode) {
  TrainedMatrix matrix("int3g16", 8, 16);
  constexpr double kMomentum = 0.75;
  const auto rule = averaged_gradient(matrix.term(), kMomentum, {});
  const auto codes = matrix.term().codes().clone();
  torch::manual_seed(41);
  auto expected = torch::zeros({8, 16}, torch::kFloat64);
  for (int64_t step = 1; step <= 5; ++step) {
    const auto gradient = torch::randn({8, 16});
    EXPECT_FALSE(rule->step(matrix.term(), gradient, {.step = step}));
    expected = kMomentum * expected + (1 - kMomentum) * gradient.to(torch::kFloat64);
  }
  EXPECT_TRUE(torch::allclose(rule->mean_gradient().to(torch::kFloat64), expected, 1e-5, 1e-6));
  EXPECT_TRUE(torch::equal(matrix.term().codes(), codes));
}

}  // namespace
}  // namespace bitsmith
