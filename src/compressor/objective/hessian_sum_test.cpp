#include "compressor/objective/hessian_sum.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/test_ranks.h"
#include "compressor/objective/objective.h"
#include "compressor/objective/row_products.h"

namespace bitsmith {
namespace {

TEST(HessianSum, IsTwiceTheMeanOuterProduct) {
  constexpr int64_t kWide = 500;  // more than a block of the sum
  torch::manual_seed(34);
  const auto x = torch::randn({3, 50, kWide});
  HessianSum sum(kWide);
  sum.add(x[0]);
  sum.add(x.narrow(0, 1, 2).to(torch::kBFloat16));
  const auto rounded = torch::cat(
      {x[0], x.narrow(0, 1, 2).to(torch::kBFloat16).to(torch::kFloat).reshape({100, kWide})});
  EXPECT_TRUE(
      torch::allclose(sum.hessian(), 2 * torch::matmul(rounded.t(), rounded) / 150, 1e-4, 1e-5));
}

TEST(RowChunkedMatmul, IsTheProductForAnyNumberOfThreads) {
  torch::manual_seed(35);
  const auto a = torch::randn({301, 200}), b = torch::randn({200, 150});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = row_chunked_matmul(a, b);
  at::set_num_threads(3);
  const auto three = row_chunked_matmul(a, b);
  at::set_num_threads(threads);
  EXPECT_TRUE(torch::equal(one, three));
  EXPECT_TRUE(torch::allclose(one, torch::matmul(a, b), 1e-4, 1e-4));
}

TEST(HessianSum, TokensCountWithTheirWeights) {
  torch::manual_seed(36);
  const auto x = torch::randn({40, 6}), other = torch::randn({40, 6});
  // A token of weight 2 counts as one that is there twice, a token of weight 0 as one that is not.
  const auto weights = torch::tensor({2, 0, 1, 3}, torch::kInt).repeat({10});
  const auto repeated = [&](const torch::Tensor& values) {
    return values.repeat_interleave(weights.to(torch::kLong), 0);
  };
  HessianSum weighted(6), plain(6);
  weighted.add(x.reshape({4, 10, 6}), weights.reshape({4, 10}).to(torch::kFloat));
  plain.add(repeated(x));
  EXPECT_TRUE(torch::allclose(weighted.hessian(), plain.hessian(), 1e-5, 1e-6));
  CrossSum weighted_cross(6), plain_cross(6);
  weighted_cross.add(other, x, weights.to(torch::kFloat));
  plain_cross.add(repeated(other), repeated(x));
  EXPECT_TRUE(torch::allclose(weighted_cross.cross(), plain_cross.cross(), 1e-5, 1e-6));

  for (const double bad : {-1.0, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THROW(weighted.add(x, torch::full({40}, bad)), Error);
  }
}

TEST(HessianSum, MergedSumsAreOneSum) {
  torch::manual_seed(37);
  const auto x = torch::randn({90, 20}), original = x + 0.1 * torch::randn({90, 20});
  const auto weights = torch::rand({90});
  HessianSum whole(20), first(20), second(20);
  CrossSum whole_cross(20), first_cross(20), second_cross(20);
  const auto rows = [](const torch::Tensor& t, int64_t from, int64_t to) {
    return t.slice(0, from, to);
  };
  whole.add(x, weights);
  whole_cross.add(original, x, weights);
  first.add(rows(x, 0, 30), rows(weights, 0, 30));
  first_cross.add(rows(original, 0, 30), rows(x, 0, 30), rows(weights, 0, 30));
  second.add(rows(x, 30, 90), rows(weights, 30, 90));
  second_cross.add(rows(original, 30, 90), rows(x, 30, 90), rows(weights, 30, 90));
  first.merge(second);
  first_cross.merge(second_cross);
  EXPECT_TRUE(torch::allclose(first.hessian(), whole.hessian(), 1e-5, 1e-6));
  EXPECT_TRUE(torch::allclose(first_cross.cross(), whole_cross.cross(), 1e-5, 1e-6));
  first.merge(HessianSum(20));  // that has seen nothing
  EXPECT_TRUE(torch::allclose(first.hessian(), whole.hessian(), 1e-5, 1e-6));
}

// To the bit what one process has, however its chunks are dealt.
TEST(HessianSum, RanksHaveTheSumOfOneProcess) {
  torch::manual_seed(39);
  constexpr int64_t kChunks = 7, kTokens = 50;
  const auto x = torch::randn({kChunks * kTokens, 24}), original = x + 0.1 * torch::randn_like(x);
  const auto weights = torch::rand({kChunks * kTokens});
  for (const int size : {1, 2, 3, 9}) {
    test_ranks::run_ranks(size, [&](Communicator& ranks) {
      at::set_num_threads(1);
      HessianSum whole(24), own(24);
      CrossSum whole_cross(24), own_cross(24);
      const auto add = [&](HessianSum& hessian, CrossSum& cross, int64_t chunk) {
        const auto part = [&](const torch::Tensor& t) {
          return t.narrow(0, chunk * kTokens, kTokens);
        };
        hessian.add(part(x), part(weights));
        cross.add(part(original), part(x), part(weights));
      };
      for (int64_t chunk = 0; chunk < kChunks; ++chunk) add(whole, whole_cross, chunk);
      const Share share = share_of(kChunks, ranks.rank(), size);
      for (int64_t chunk = share.first; chunk < share.last; ++chunk) add(own, own_cross, chunk);
      own.merge_ranks(ranks);
      own_cross.merge_ranks(ranks);
      EXPECT_TRUE(torch::equal(own.hessian(), whole.hessian())) << size;
      EXPECT_TRUE(torch::equal(own_cross.cross(), whole_cross.cross())) << size;
      EXPECT_EQ(own.weight(), whole.weight());
    });
  }
}

// The cost with the shift is the error against the original's outputs on its own inputs, up to a
// constant.
TEST(CrossTerm, IsTheErrorAgainstTheOriginalOutputs) {
  torch::manual_seed(38);
  const auto original = torch::randn({200, 8}, torch::kDouble);
  const auto x = (original + 0.3 * torch::randn({200, 8}, torch::kDouble)).to(torch::kFloat);
  const auto weight = torch::randn({5, 8});
  HessianSum hessian(8);
  hessian.add(x);
  CrossSum cross(8);
  cross.add(original.to(torch::kFloat), x);
  Objective objective(hessian.hessian());
  objective.shift =
      cross_term_shift(weight, input_drift(objective.hessian, cross.cross(), /*damping=*/0), 1);
  const auto outputs = torch::matmul(original, weight.to(torch::kDouble).t());
  const auto excess = [&](const torch::Tensor& quantized) {
    const auto own = torch::matmul(x.to(torch::kDouble), quantized.to(torch::kDouble).t());
    const double mean = 2 * (outputs - own).square().sum().item<double>() / 200;
    return mean - objective.error(weight - quantized);
  };
  const auto first = weight + 0.1 * torch::randn({5, 8});
  const auto second = weight + 0.5 * torch::randn({5, 8});
  EXPECT_NEAR(excess(first), excess(second), 1e-4);
}

}  // namespace
}  // namespace bitsmith
