#include "compressor/quantize/continuous_solve.h"

#include <gtest/gtest.h>

#include <cctype>
#include <memory>
#include <string>
#include <vector>

#include "compressor/quantize/test_linears.h"

namespace bitsmith {
namespace {

constexpr int kManyIterations = 200;

class ContinuousSolveOf : public testing::TestWithParam<const char*> {
 protected:
  // Nearest codes know nothing of the Hessian: there is something to solve.
  void SetUp() override {
    linear_ = random_linear(48, 64);
    objective_ = Objective(linear_.hessian);
    objective_.output_factor = torch::rand({48}) + 0.1;
    const QuantizeOptions nearest = {.method = Method::kRtn};
    representation_ = quantize_linear(linear_.weight, {}, parse_representation(GetParam()), nearest)
                          .representation;
  }
  // As without gradients, where a sum of terms may be added up in another order.
  torch::Tensor dense() const {
    const torch::NoGradGuard no_grad;
    return representation_->dequantize();
  }
  double error() const { return objective_.error(linear_.weight - dense()); }

  TestLinear linear_;
  Objective objective_;
  std::unique_ptr<Representation> representation_;
};

TEST_P(ContinuousSolveOf, LowersTheObjectiveAndLeavesCodes) {
  const auto codes = representation_->coded().codes().clone();
  double before = error();
  for (int round = 0; round < 3; ++round) {
    const bool moved = solve_continuous(*representation_, linear_.weight, objective_, 8);
    const double after = error();
    EXPECT_LE(after, before);
    EXPECT_EQ(after < before, moved);
    if (round == 0) {
      EXPECT_TRUE(moved);
    }
    before = after;
  }
  EXPECT_TRUE(torch::equal(representation_->coded().codes(), codes));
}

// The last parameter is solved with all others as they are: its gradient vanishes.
TEST_P(ContinuousSolveOf, EndsWhereTheGradientOfTheLastVanishes) {
  const auto last = representation_->continuous_parameters().back().value;
  const auto gradient = [&] {
    const auto dense = representation_->dequantize();
    const auto slope = objective_.apply(linear_.weight - dense.detach());
    return torch::autograd::grad({dense}, {last}, {slope}).front().norm().item<double>();
  };
  const double start = gradient();
  solve_continuous(*representation_, linear_.weight, objective_, kManyIterations);
  EXPECT_LT(gradient(), 0.1 * start);
}

// Where nothing can be gained, nothing moves.
TEST_P(ContinuousSolveOf, KeepsValuesThatAreTheBest) {
  std::vector<torch::Tensor> before;
  for (const auto& parameter : representation_->continuous_parameters())
    before.push_back(parameter.value.detach().clone());
  EXPECT_FALSE(solve_continuous(*representation_, dense(), objective_, 8));
  const auto after = representation_->continuous_parameters();
  for (size_t i = 0; i < before.size(); ++i)
    EXPECT_TRUE(torch::equal(before[i], after[i].value)) << after[i].name;
}

INSTANTIATE_TEST_SUITE_P(Representations, ContinuousSolveOf,
                         testing::Values("int3g16", "int3g16-z", "aq2x4g4", "aq1x4g4-s4x2",
                                         "gvq2d2b-n512", "e8p", "int3g16+lr2", "had:int3g16"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) {
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           }
                           return name;
                         });

// Where the parameter is all scales of rows, the minimum is known in closed form.
TEST(ContinuousSolve, FindsTheBestScalesOfRows) {
  const TestLinear linear = random_linear(12, 32);
  const Objective objective(linear.hessian);
  const auto representation =
      quantize_linear(linear.weight, {}, parse_representation("int4g0"), {.method = Method::kRtn})
          .representation;
  const auto scales = representation->continuous_parameters().front().value;
  const auto unscaled =
      (representation->dequantize().detach() / scales.detach()).to(torch::kFloat64);
  const auto hessian = linear.hessian.to(torch::kFloat64);
  const auto image = torch::matmul(unscaled, hessian);
  const auto best = (image * linear.weight).sum(1) / (image * unscaled).sum(1);
  const double least =
      objective.error(linear.weight - (unscaled * best.unsqueeze(1)).to(torch::kFloat32));
  solve_continuous(*representation, linear.weight, objective, kManyIterations);
  EXPECT_NEAR(objective.error(linear.weight - representation->dequantize().detach()), least,
              1e-4 * least);
}

}  // namespace
}  // namespace bitsmith
