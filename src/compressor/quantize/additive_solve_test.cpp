#include "compressor/quantize/additive_solve.h"

#include <gtest/gtest.h>

#include "compressor/quantize/additive_initial_codebooks.h"
#include "compressor/representation/kinds/additive_dequantize.h"

namespace bitsmith {
namespace {

constexpr int64_t kOut = 30, kIn = 24, kCentroids = 4, kGroup = 4, kCodebooks = 2;

struct Problem {
  torch::Tensor weight, hessian, codebooks, scales, codes;
};

Problem random_problem() {
  torch::manual_seed(31);
  const auto x = torch::randn({60, kIn}) * torch::linspace(0.5, 2, kIn);
  return {torch::randn({kOut, kIn}), torch::matmul(x.t(), x) / 30.0,
          torch::randn({kCodebooks, kCentroids, kGroup}), torch::rand({kOut}) + 0.5,
          torch::randint(kCentroids, {kOut * kIn / kGroup, kCodebooks}, torch::kInt)};
}

double objective(const Problem& p, const torch::Tensor& codebooks, const torch::Tensor& scales) {
  return Objective(p.hessian).error(p.weight - additive_decode(codebooks, scales, p.codes));
}

// The minimum by a dense least-squares solve with the square root of H, in float64.
TEST(SolveCodebooks, ReachesTheMinimum) {
  const Problem p = random_problem();
  const int64_t unknowns = p.codebooks.numel();
  const auto root = torch::linalg_cholesky(p.hessian.to(torch::kDouble));  // H = L L^T
  const auto flat = [&](const torch::Tensor& dense) {
    return torch::matmul(dense.to(torch::kDouble), root).flatten();
  };
  std::vector<torch::Tensor> columns;
  for (int64_t i = 0; i < unknowns; ++i) {
    auto unit = torch::zeros({unknowns});
    unit[i] = 1;
    columns.push_back(flat(additive_decode(unit.reshape(p.codebooks.sizes()), p.scales, p.codes)));
  }
  const auto a = torch::stack(columns, 1);
  const auto target = flat(p.weight);
  const auto exact =
      std::get<0>(torch::linalg_lstsq(a, target.unsqueeze(1), c10::nullopt, "gelsd"));
  const double minimum =
      (torch::matmul(a, exact).squeeze(1) - target).square().sum().item<double>();

  double before = objective(p, p.codebooks, p.scales);
  for (const int iterations : {1, 4, 60}) {
    const auto found =
        solve_codebooks(p.weight, p.hessian, p.codebooks, p.scales, p.codes, iterations);
    const double reached = objective(p, found, p.scales);
    EXPECT_LT(reached, before);
    before = reached;
  }
  EXPECT_NEAR(before, minimum, 1e-5 * minimum);
}

TEST(SolveCodebooks, IgnoresUnusedVectors) {
  Problem p = random_problem();
  p.codes.clamp_max_(kCentroids - 2);
  const auto found = solve_codebooks(p.weight, p.hessian, p.codebooks, p.scales, p.codes, 20);
  EXPECT_TRUE(torch::equal(found.select(1, kCentroids - 1), p.codebooks.select(1, kCentroids - 1)));
}

TEST(SolveScales, EveryRowIsAtItsMinimum) {
  const Problem p = random_problem();
  const auto unscaled = additive_decode(p.codebooks, torch::ones_like(p.scales), p.codes);
  const auto best = solve_scales(p.weight, p.hessian, unscaled, p.scales, 1);
  const double reached = objective(p, p.codebooks, best);
  for (int64_t row = 0; row < kOut; ++row) {
    for (const double step : {-0.01, 0.01}) {
      auto other = best.clone();
      other[row] += step;
      EXPECT_GT(objective(p, p.codebooks, other), reached);
    }
  }
}

TEST(SolveGroupScaleValues, IsTheMinimum) {
  const Problem p = random_problem();
  const auto unscaled = additive_decode(p.codebooks, p.scales, p.codes);
  const int64_t per_row = p.codes.size(0) / kOut;
  const GroupScales groups = {torch::rand({4}) + 0.5,
                              torch::randint(4, {kOut, per_row}, torch::kInt)};
  const auto objective_of = [&](const torch::Tensor& values) {
    const auto scales = combined_scales(p.scales, {values, groups.codes});
    return objective(p, p.codebooks, scales);
  };
  const auto best = solve_group_scale_values(p.weight, p.hessian, unscaled, groups, 20);
  const double reached = objective_of(best);
  EXPECT_LT(reached, objective_of(groups.values));
  for (int64_t k = 0; k < 4; ++k) {
    for (const double step : {-0.01, 0.01}) {
      auto other = best.clone();
      other[k] += step;
      EXPECT_GT(objective_of(other), reached);
    }
  }
}

TEST(ResidualKMeans, OneCenterIsTheWeightedMean) {
  torch::manual_seed(32);
  const auto points = torch::randn({20, 8}), scales = torch::rand({20}) + 0.1;
  const auto weights = torch::rand({8}) + 0.1;
  Random random(1);
  const auto start = residual_kmeans(points, scales, weights, {1, 1, 8}, 10, random);
  const auto used = start.codes.to(torch::kLong).squeeze(1);
  for (int64_t k = 0; k < 2; ++k) {
    const auto own = (used == k).nonzero().squeeze(1);
    const auto mass = scales.square().index_select(0, own).unsqueeze(1);
    const auto mean = (points.index_select(0, own) * mass).sum(0) / mass.sum();
    EXPECT_TRUE(torch::allclose(start.codebooks[0][k], mean, 1e-4, 1e-5));
  }
}

TEST(ResidualKMeans, FindsSeparateClustersWhateverTheStart) {
  torch::manual_seed(33);
  const auto centers = 10 * torch::randn({16, 4});
  // Nearly all points in one cluster: most random starts lie there, and others stay empty.
  auto which = torch::zeros({500}, torch::kLong);
  which.narrow(0, 0, 16).copy_(torch::arange(16));
  const auto points = centers.index_select(0, which);
  Random random(3);
  const auto start =
      residual_kmeans(points, torch::ones({500}), torch::ones({4}), {1, 4, 4}, 40, random);
  const auto decoded = additive_decode(start.codebooks, torch::ones({500}), start.codes);
  EXPECT_LT((decoded - points).norm().item<float>(), 1e-3 * points.norm().item<float>());
}

// No step away lowers the objective.
TEST(Solves, ReachTheMinimumOfAnyOutputFactor) {
  const Problem p = random_problem();
  const auto x = torch::randn({60, kOut});
  for (const auto& g : {torch::rand({kOut}) + 0.1, torch::matmul(x.t(), x) / 60}) {
    Objective objective(p.hessian);
    objective.output_factor = g;
    const auto cost = [&](const torch::Tensor& codebooks, const torch::Tensor& scales) {
      return objective.error(p.weight - additive_decode(codebooks, scales, p.codes));
    };
    const auto codebooks =
        solve_codebooks(p.weight, objective, p.codebooks, p.scales, p.codes, 200);
    const auto unscaled = additive_decode(p.codebooks, torch::ones_like(p.scales), p.codes);
    const auto scales = solve_scales(p.weight, objective, unscaled, p.scales, 200);
    const double of_codebooks = cost(codebooks, p.scales), of_scales = cost(p.codebooks, scales);
    EXPECT_LT(of_codebooks, cost(p.codebooks, p.scales));
    EXPECT_LT(of_scales, cost(p.codebooks, p.scales));
    for (int i = 0; i < 10; ++i) {
      const auto step = 0.02 * torch::randn_like(codebooks);
      EXPECT_GT(cost(codebooks + step, p.scales), of_codebooks);
      EXPECT_GT(cost(p.codebooks, scales + 0.02 * torch::randn({kOut})), of_scales);
    }
  }
}

}  // namespace
}  // namespace bitsmith
