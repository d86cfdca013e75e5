#include "compressor/quantize_model/sampled_loss.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace bitsmith {
namespace {

TEST(SampledLoss, GradientIsThatOfTheLabelsLogProbability) {
  torch::manual_seed(61);
  for (const double soft_cap : {0.0, 2.0}) {
    const auto weight = torch::randn({50, 12}), states = torch::randn({33, 12});
    const auto uniforms = label_uniforms(3, 0, 3, 11);
    const SampledLoss loss = sampled_loss(states, {weight, soft_cap}, uniforms, /*chunk=*/10);
    auto x = states.clone().requires_grad_(true);
    auto logits = torch::matmul(x, weight.t());
    if (soft_cap > 0) logits = soft_cap * torch::tanh(logits / soft_cap);
    const auto chosen = torch::log_softmax(logits, -1).gather(1, loss.labels.unsqueeze(1));
    (-chosen.sum()).backward();
    EXPECT_TRUE(torch::allclose(loss.grad_hidden, x.grad(), 1e-4, 1e-5));
  }
}

TEST(SampledLoss, LabelsFollowTheModel) {
  torch::manual_seed(62);
  const auto weight = torch::randn({8, 4});
  const auto states = torch::randn({1, 4}).expand({20000, 4}).contiguous();
  const auto uniforms = label_uniforms(4, 0, 20, 1000);
  const auto labels = sampled_loss(states, {weight, 0}, uniforms).labels;
  const auto frequency = torch::bincount(labels, {}, 8).to(torch::kFloat32) / 20000;
  const auto expected = torch::softmax(torch::matmul(states[0], weight.t()), -1);
  EXPECT_LT((frequency - expected).abs().max().item<float>(), 4 * 0.5 / std::sqrt(20000.0));
}

TEST(SampledLoss, UniformsOfAWindowDependOnItsNumberAndTheSeed) {
  const auto all = label_uniforms(5, 0, 4, 7), last = label_uniforms(5, 2, 2, 7);
  EXPECT_TRUE(std::equal(last.begin(), last.end(), all.begin() + 14));
  EXPECT_FALSE(std::equal(all.begin(), all.begin() + 7, all.begin() + 7));
  EXPECT_NE(label_uniforms(6, 0, 4, 7), all);
  EXPECT_TRUE(std::all_of(all.begin(), all.end(), [](double u) { return u >= 0 && u < 1; }));
}

}  // namespace
}  // namespace bitsmith
