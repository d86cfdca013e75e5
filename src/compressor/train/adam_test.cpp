#include "compressor/train/adam.h"

#include <gtest/gtest.h>
#include <torch/optim.h>

#include <algorithm>
#include <cmath>

#include "compressor/train/eight_bit_moments.h"

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
    value.sub_(adam.direction(gradient, step, {}), 0.01);
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
    direction = adam.direction(0.01 * torch::randn({100000}), step, options);
  }
  const double b = options.beta1, left = std::pow(b, kSteps);
  const double noise = (1 - b) / (1 + b) * (1 - left * left) / std::pow(1 - left, 2);
  EXPECT_NEAR(direction.square().mean().item<double>(), noise, 0.05 * noise);
}

// The textbook's formulas in float64.
TEST(Adam, FirstDirectionsEqualAFloat64Reference) {
  torch::manual_seed(6);
  for (const auto format : {MomentFormat::kFloat32, MomentFormat::kBFloat16}) {
    const AdamOptions o{.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .moments = format};
    AdamState adam;
    auto m = torch::zeros({7, 5}, torch::kFloat64), v = m.clone();
    for (int64_t step = 1; step <= 4; ++step) {
      const auto gradient = torch::randn({7, 5});
      const auto g = gradient.to(torch::kFloat64);
      m = o.beta1 * m + (1 - o.beta1) * g;
      v = o.beta2 * v + (1 - o.beta2) * g * g;
      const auto expected = m / (1 - std::pow(o.beta1, step)) /
                            ((v / (1 - std::pow(o.beta2, step))).sqrt() + o.epsilon);
      const auto direction = adam.direction(gradient, step, o);
      EXPECT_LT((direction - expected).abs().max().item<double>(),
                format == MomentFormat::kFloat32 ? 1e-5 : 0.03)
          << step;
    }
  }
}

// Steps with and without a direction, in turn: the same moments as with one each time.
TEST(Adam, MomentsDoNotDependOnWhoWantsADirection) {
  for (const auto format :
       {MomentFormat::kFloat32, MomentFormat::kBFloat16, MomentFormat::kEightBits}) {
    const AdamOptions options{.moments = format};
    AdamState always, sometimes;
    torch::manual_seed(9);
    for (int64_t step = 1; step <= 4; ++step) {
      const auto gradient = torch::randn({21, 33});
      const auto wanted = always.direction(gradient, step, options);
      if (step % 2 == 0) {
        EXPECT_TRUE(torch::equal(sometimes.direction(gradient, step, options), wanted));
      } else {
        sometimes.take(gradient, step, options);
      }
    }
    EXPECT_TRUE(torch::equal(sometimes.first, always.first)) << option_text(format);
    EXPECT_TRUE(torch::equal(sometimes.second, always.second)) << option_text(format);
  }
}

double root_mean_square(const torch::Tensor& t) { return t.square().mean().sqrt().item<double>(); }

// Gradients of 8 orders of magnitude in each block: the small ones are not lost beside the large.
TEST(EightBitMoments, DirectionsAreNearThoseOfFloat32AtEveryMagnitude) {
  torch::manual_seed(7);
  const AdamOptions plain{.beta1 = 0.95}, small = plain.with(MomentFormat::kEightBits);
  AdamState exact, rounded;
  const auto size = torch::pow(10, torch::arange(4000) % 5 - 6.0);
  torch::Tensor a, b;
  for (int64_t step = 1; step <= 60; ++step) {
    const auto gradient = size * (0.5 + torch::randn({4000}));
    a = exact.direction(gradient, step, plain);
    b = rounded.direction(gradient, step, small);
  }
  for (int64_t magnitude = 0; magnitude < 5; ++magnitude) {
    const auto of = [&](const torch::Tensor& t) { return t.view({-1, 5}).select(1, magnitude); };
    EXPECT_LT(root_mean_square(of(a) - of(b)), 0.25 * root_mean_square(of(a))) << magnitude;
    EXPECT_NEAR(of(b).mean().item<double>(), of(a).mean().item<double>(), 0.05) << magnitude;
  }
  EXPECT_EQ(rounded.first.nbytes() + rounded.first_scales.nbytes(), 4000 + 4 * 32);
  EXPECT_EQ(rounded.second.nbytes() + rounded.second_scales.nbytes(), 4000 + 4 * 32);
}

// Where no gradient comes any more a moment decays by 2 % a step, far less than a spacing.
TEST(EightBitMoments, MeansOfManyStepsAreKept) {
  AdamState adam;
  const AdamOptions options{.beta1 = 0.98, .beta2 = 0.98, .moments = MomentFormat::kEightBits};
  const int64_t n = 100 * kMomentBlock;
  adam.direction(torch::ones({n}), 1, options);
  // One value a block keeps the scale, so that the others have to move within it.
  auto gradient = torch::zeros({100, kMomentBlock});
  gradient.select(1, 0).fill_(1);
  for (int64_t step = 2; step <= 50; ++step) adam.direction(gradient.flatten(), step, options);
  const EightBitMoment<true> first(adam.first.data_ptr<uint8_t>(),
                                   adam.first_scales.data_ptr<float>(), 0);
  double sum = 0;
  for (int64_t block = 0; block < 100; ++block) {
    float values[kMomentBlock];
    first.load(block * kMomentBlock, kMomentBlock, values);
    for (int64_t i = 1; i < kMomentBlock; ++i) sum += values[i];
  }
  const double wanted = 0.02 * std::pow(0.98, 49);
  EXPECT_NEAR(sum / (100 * (kMomentBlock - 1)), wanted, 0.02 * wanted);
}

TEST(EightBitMoments, AreTheSameBytesWithAnyNumberOfThreads) {
  const int threads = at::get_num_threads();
  const auto after_steps = [](int n) {
    at::set_num_threads(n);
    torch::manual_seed(8);
    AdamState adam;
    for (int64_t step = 1; step <= 3; ++step)
      adam.direction(torch::randn({300001}), step, {.moments = MomentFormat::kEightBits});
    return adam;
  };
  const AdamState one = after_steps(1), three = after_steps(3);
  at::set_num_threads(threads);
  EXPECT_TRUE(torch::equal(one.first, three.first));
  EXPECT_TRUE(torch::equal(one.second, three.second));
  EXPECT_TRUE(torch::equal(one.first_scales, three.first_scales));
}

TEST(EightBitMoments, CodesAreTheirOwnNearestAndMomentumShrinks) {
  using Unsigned = SmallFloat<255>;
  float before = -1;
  for (uint32_t code = 0; code < 256; ++code) {
    const float value = Unsigned::decode(code);
    EXPECT_GT(value, before);
    EXPECT_EQ(Unsigned::encode(value, 1u << 19), code);
    EXPECT_EQ(Unsigned::encode(value, 0), code);
    before = value;
  }
  EXPECT_EQ(before, 1);
  EXPECT_EQ(Unsigned::encode(1.0000002f, (1u << 20) - 1), 255u);

  AdamState adam;
  const AdamOptions options{.moments = MomentFormat::kEightBits};
  adam.direction(torch::full({4, 100}, -1.0f), 1, options);  // code groups that cross blocks
  adam.shrink_momentum(torch::tensor({1, 3}, torch::kInt64), 100, 0.5);
  adam.shrink_momentum(torch::tensor({2}, torch::kInt64), 100, 0);
  float values[400];
  const EightBitMoment<true> first(adam.first.data_ptr<uint8_t>(),
                                   adam.first_scales.data_ptr<float>(), 0);
  for (int64_t at = 0; at < 400; at += kMomentBlock)
    first.load(at, std::min(kMomentBlock, 400 - at), values + at);
  for (int i = 0; i < 400; ++i) {
    const float share[] = {1, 0.5f, 0, 0.5f};
    EXPECT_NEAR(values[i], -0.1 * share[i / 100], 1e-7) << i;
  }
}

TEST(StateFiles, HoldTheSameStateAsMemory) {
  StateFiles files(testing::TempDir());
  for (const auto format :
       {MomentFormat::kFloat32, MomentFormat::kBFloat16, MomentFormat::kEightBits}) {
    AdamState plain, filed;
    filed.memory = &files;
    for (int64_t step = 1; step <= 3; ++step) {
      torch::manual_seed(static_cast<uint64_t>(step));
      const auto gradient = torch::randn({33, 17});
      const AdamOptions options{.moments = format};
      EXPECT_TRUE(torch::equal(plain.direction(gradient, step, options),
                               filed.direction(gradient, step, options)));
    }
    EXPECT_TRUE(torch::equal(plain.first, filed.first));
  }
}

}  // namespace
}  // namespace bitsmith
