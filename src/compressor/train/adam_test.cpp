#include "compressor/train/adam.h"

#include <gtest/gtest.h>
#include <torch/optim.h>

#include <cmath>

namespace bitsmith {
namespace {

TEST(Adam, EqualsTorchsAdam) {
  torch::manual_seed(2);
  auto reference = torch::randn({40, 8}).requires_grad_(true);
  auto value = reference.detach().clone();
  torch::optim::Adam optimizer({reference},
                               torch::optim::AdamOptions(0.01).betas({0.9, 0.95}).eps(1e-8));
  AdamState adam;
  for (int64_t step = 1; step <= 5; ++step) {
    const auto gradient = torch::randn({40, 8});
    reference.mutable_grad() = gradient.clone();
    optimizer.step();
    value.sub_(adam.direction(gradient, step, torch::kFloat32, {}), 0.01);
  }
  EXPECT_LT((value - reference).abs().max().item<double>(), 1e-6);
}

// What CodeChange::update_power is compared with.
TEST(Adam, AveragesNoiseAway) {
  torch::manual_seed(5);
  const AdamOptions options{.beta1 = 0.95, .beta2 = 0.999};
  AdamState adam;
  torch::Tensor direction;
  constexpr int kSteps = 60;
  for (int step = 1; step <= kSteps; ++step) {
    direction = adam.direction(0.01 * torch::randn({100000}), step, torch::kFloat32, options);
  }
  const double b = options.beta1, left = std::pow(b, kSteps);
  const double noise = (1 - b) / (1 + b) * (1 - left * left) / std::pow(1 - left, 2);
  EXPECT_NEAR(direction.square().mean().item<double>(), noise, 0.05 * noise);
}

// The textbook's formulas in float64.
TEST(Adam, FirstDirectionsEqualAFloat64Reference) {
  torch::manual_seed(6);
  const AdamOptions o{.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8};
  for (const auto storage : {torch::kFloat32, torch::kBFloat16}) {
    AdamState adam;
    auto m = torch::zeros({7, 5}, torch::kFloat64), v = m.clone();
    for (int64_t step = 1; step <= 4; ++step) {
      const auto gradient = torch::randn({7, 5});
      const auto g = gradient.to(torch::kFloat64);
      m = o.beta1 * m + (1 - o.beta1) * g;
      v = o.beta2 * v + (1 - o.beta2) * g * g;
      const auto expected = m / (1 - std::pow(o.beta1, step)) /
                            ((v / (1 - std::pow(o.beta2, step))).sqrt() + o.epsilon);
      const auto direction = adam.direction(gradient, step, storage, o);
      EXPECT_LT((direction - expected).abs().max().item<double>(),
                storage == torch::kFloat32 ? 1e-5 : 0.03)
          << step;
    }
  }
}

}  // namespace
}  // namespace bitsmith
