#include "compressor/train/p_step.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "compressor/train/test_matrices.h"

namespace bitsmith {
namespace {

// Adam in float64, by the textbook; returns the new value.
struct ReferenceAdam {
  torch::Tensor m, v;
  torch::Tensor step(const torch::Tensor& value, const torch::Tensor& g, int64_t t, double rate) {
    m = 0.1 * g + (m.defined() ? 0.9 * m : 0 * g);
    v = 0.05 * g * g + (v.defined() ? 0.95 * v : 0 * g);
    return value -
           rate * (m / (1 - std::pow(0.9, t))) / ((v / (1 - std::pow(0.95, t))).sqrt() + 1e-8);
  }
};

// W = scale * (code - zero): the gradients of scales and zero points by hand.
TEST(PStep, FirstValuesEqualAFloat64Reference) {
  TrainedMatrix matrix("int3g16-z", 6, 32);
  const auto find = [&](const std::string& name) -> Trainable& {
    for (auto& c : matrix.tuned().continuous) {
      if (c.name == "matrix." + name) return c;
    }
    throw std::runtime_error(name);
  };
  const auto wide = [](const torch::Tensor& t) { return t.detach().to(torch::kFloat64).clone(); };
  auto scales = wide(find("scales").value), zeros = wide(find("zeros").value);
  const double scale_unit = scales.square().mean().sqrt().item<double>(),
               zero_unit = zeros.square().mean().sqrt().item<double>();
  const auto codes = wide(matrix.term().codes()).reshape({6, 2, 16});
  ReferenceAdam of_scales, of_zeros;
  torch::manual_seed(3);
  for (int64_t step = 1; step <= 3; ++step) {
    const auto gradient = torch::randn({6, 32});
    matrix.tuned().gradient.copy_(gradient);
    p_step(matrix.blocks, step, 0.01, {});
    const auto g = wide(gradient).reshape({6, 2, 16});
    const auto scale_gradient = (g * (codes - zeros.unsqueeze(2))).sum(2);
    const auto zero_gradient = -(g * scales.unsqueeze(2)).sum(2);
    scales = of_scales.step(scales, scale_gradient, step, 0.01 * scale_unit);
    zeros = of_zeros.step(zeros, zero_gradient, step, 0.01 * zero_unit);
    EXPECT_LT((find("scales").value - scales).abs().max().item<double>(), 1e-5 * scale_unit);
    EXPECT_LT((find("zeros").value - zeros).abs().max().item<double>(), 1e-5 * zero_unit);
  }
}

TEST(PStep, NormsMoveAtASmallShareOfTheRate) {
  TunedBlocks blocks;
  const auto live = torch::full({4}, 2.0f).requires_grad_(true);
  blocks.norms().push_back({"norm", torch::full({4}, 2.0f), live, {}, 2.0, true});
  blocks.norms().front().gradient = torch::tensor({1.0f, -1.0f, 0.5f, 0.0f});
  p_step(blocks, 1, 0.01, {});
  const double way = 0.05 * 0.01 * 2.0;
  const auto expected = torch::tensor({2 - way, 2 + way, 2 - way, 2.0}, torch::kFloat64);
  EXPECT_LT((blocks.norms().front().value - expected).abs().max().item<double>(), 1e-6);
}

// Real signs of a rotation go the way of norms; nothing else of the matrix does.
TEST(PStep, RealSignsMoveAsNorms) {
  TrainedMatrix matrix("had-real:int3g16", 48, 64);
  torch::manual_seed(8);
  matrix.tuned().gradient.copy_(torch::randn({48, 64}));
  std::map<std::string, torch::Tensor> before;
  for (auto& c : matrix.tuned().continuous) before[c.name] = c.value.detach().clone();
  EXPECT_EQ(before.size(), 3u);
  const auto plain = matrix.linear.representation->dequantize().detach().clone();
  p_step(matrix.blocks, 1, 0.01, {.weight_decay = 0.5});
  for (auto& c : matrix.tuned().continuous) {
    const auto moved = (c.value - before.at(c.name)).detach().abs().max().item<double>();
    if (c.of_channels) {
      EXPECT_NEAR(moved, 0.05 * 0.01 * c.unit, 1e-3 * 0.01 * c.unit) << c.name;
    } else {
      EXPECT_GT(moved, 0.009 * c.unit) << c.name;
    }
  }
  EXPECT_GT((matrix.linear.representation->dequantize() - plain).norm().item<double>(), 0);
}

// LAMB: whatever the gradient, a step is the rate times the norm of what moves.
TEST(PStep, LambsStepsHaveTheLengthOfTheRate) {
  TrainedMatrix matrix("aq1x4g4", 48, 64);
  torch::manual_seed(5);
  for (int64_t step = 1; step <= 3; ++step) {
    matrix.tuned().gradient.copy_(1e-3 * torch::randn({48, 64}));
    std::vector<torch::Tensor> before;
    for (auto& c : matrix.tuned().continuous) before.push_back(c.value.detach().clone());
    p_step(matrix.blocks, step, 0.01, {.optimizer = Optimizer::kLamb});
    for (size_t i = 0; i < before.size(); ++i) {
      const auto& c = matrix.tuned().continuous[i];
      EXPECT_NEAR((c.value - before[i]).norm().item<double>(),
                  0.01 * before[i].norm().item<double>(), 1e-4 * before[i].norm().item<double>())
          << c.name;
    }
  }
}

// Decoupled: a step with decay is the step without, and the values' share of the rate besides.
TEST(PStep, WeightDecayTakesItsShareOfTheRate) {
  TrainedMatrix plain("int3g16-z", 6, 32), decayed("int3g16-z", 6, 32);
  torch::manual_seed(6);
  const auto gradient = torch::randn({6, 32});
  for (auto* matrix : {&plain, &decayed}) {
    matrix->tuned().gradient.copy_(gradient);
    matrix->blocks.norms().push_back(
        {"norm", torch::ones({4}), torch::ones({4}).requires_grad_(true), {}, 1.0, true});
    matrix->blocks.norms().front().gradient = torch::ones({4});
  }
  std::vector<torch::Tensor> start;
  for (auto& c : plain.tuned().continuous) start.push_back(c.value.detach().clone());
  p_step(plain.blocks, 1, 0.01, {});
  p_step(decayed.blocks, 1, 0.01, {.weight_decay = 0.5});
  for (size_t i = 0; i < start.size(); ++i) {
    const auto wanted = plain.tuned().continuous[i].value - 0.01 * 0.5 * start[i];
    EXPECT_LT((decayed.tuned().continuous[i].value - wanted).norm().item<double>(),
              1e-5 * start[i].norm().item<double>());
  }
  EXPECT_TRUE(
      torch::equal(plain.blocks.norms().front().value, decayed.blocks.norms().front().value));
}

}  // namespace
}  // namespace bitsmith
