#include "compressor/objective/input_sums.h"

#include <gtest/gtest.h>

#include "compressor/objective/half_noise.h"

namespace bitsmith {
namespace {

constexpr int64_t kIn = 24;
constexpr double kDamping = 0.01;

struct Inputs {
  torch::Tensor x = torch::randn({4, 30, kIn});
  torch::Tensor original = x + 0.2 * torch::randn({4, 30, kIn});
  torch::Tensor weights = torch::rand({4, 30}) + 0.1;
};

TEST(InputSums, OneSumIsTheHessianAndItsDrift) {
  torch::manual_seed(55);
  const Inputs inputs;
  InputSums sums(kIn, /*with_cross=*/true, /*in_halves=*/false);
  HessianSum hessian(kIn);
  CrossSum cross(kIn);
  sums.add(inputs.x, inputs.original, {}, 0);
  hessian.add(inputs.x);
  cross.add(inputs.original, inputs.x);
  EXPECT_TRUE(torch::equal(sums.hessian(), hessian.hessian()));
  const InputDrift drift = std::move(sums).drift(hessian.hessian(), kDamping);
  EXPECT_TRUE(torch::equal(drift.whole, input_drift(hessian.hessian(), cross.cross(), kDamping)));
  EXPECT_FALSE(drift.first.defined() || drift.second.defined());
  EXPECT_FALSE(InputSums(kIn, false, true).drift(hessian.hessian(), kDamping).whole.defined());
}

TEST(InputSums, EqualWeightsAreNone) {
  torch::manual_seed(56);
  const Inputs inputs;
  InputSums plain(kIn, true, false), weighted(kIn, true, false);
  plain.add(inputs.x, inputs.original, {}, 0);
  weighted.add(inputs.x, inputs.original, torch::ones({4, 30}), 0);
  const auto hessian = plain.hessian();
  EXPECT_TRUE(torch::equal(weighted.hessian(), hessian));
  EXPECT_TRUE(torch::equal(std::move(weighted).drift(hessian, kDamping).whole,
                           std::move(plain).drift(hessian, kDamping).whole));
}

TEST(InputSums, HalvesTogetherAreTheWhole) {
  torch::manual_seed(57);
  const Inputs inputs;
  for (const auto& weights : {torch::Tensor(), inputs.weights}) {
    InputSums whole(kIn, true, false), halves(kIn, true, true);
    HessianSum first(kIn), second(kIn);
    whole.add(inputs.x, inputs.original, weights, 0);
    // A border inside of the second of two chunks.
    const auto part = [](const torch::Tensor& t, int64_t from, int64_t to) {
      return t.defined() ? t.slice(0, from, to) : t;
    };
    halves.add(part(inputs.x, 0, 1), part(inputs.original, 0, 1), part(weights, 0, 1), 30);
    halves.add(part(inputs.x, 1, 4), part(inputs.original, 1, 4), part(weights, 1, 4), 30);
    first.add(part(inputs.x, 0, 2), part(weights, 0, 2));
    second.add(part(inputs.x, 2, 4), part(weights, 2, 4));
    const auto hessian = whole.hessian();
    EXPECT_TRUE(torch::allclose(halves.hessian(), hessian, 1e-4, 1e-5));
    EXPECT_NEAR(halves.shrinkage(), hessian_noise(first.hessian(), second.hessian()), 1e-5);
    const InputDrift drift = std::move(halves).drift(hessian, kDamping);
    EXPECT_TRUE(
        torch::allclose(drift.whole, std::move(whole).drift(hessian, kDamping).whole, 1e-3, 1e-4));
    if (!weights.defined()) {
      EXPECT_TRUE(torch::allclose((drift.first + drift.second) / 2, drift.whole, 1e-3, 1e-4));
    }
  }
}

// One half that has seen nothing says that all is noise.
TEST(InputSums, OneHalfAloneIsNoEvidence) {
  torch::manual_seed(58);
  const Inputs inputs;
  InputSums sums(kIn, true, true);
  sums.add(inputs.x, inputs.original, {}, 0);
  EXPECT_NEAR(sums.shrinkage(), 1, 1e-6);
  const torch::Tensor hessian = sums.hessian();
  const InputDrift drift = std::move(sums).drift(hessian, kDamping);
  EXPECT_NEAR(shift_noise(Objective(hessian), drift.first, drift.second), 1, 1e-6);
}

}  // namespace
}  // namespace bitsmith
