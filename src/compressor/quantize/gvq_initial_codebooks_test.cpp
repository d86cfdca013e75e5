#include "compressor/quantize/gvq_initial_codebooks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/random.h"
#include "compressor/quantize/gvq_solve.h"
#include "compressor/representation/kinds/gvq_dequantize.h"

namespace bitsmith {
namespace {

double run_cost(const std::vector<double>& x, const std::vector<double>& w, int64_t begin,
                int64_t end) {
  double mass = 0, mean = 0, cost = 0;
  for (int64_t i = begin; i < end; ++i) mass += w[i];
  for (int64_t i = begin; i < end; ++i) mean += w[i] * x[i] / mass;
  for (int64_t i = begin; i < end; ++i) cost += w[i] * (x[i] - mean) * (x[i] - mean);
  return cost;
}

// Every way to cut n points into runs.
double least_cost(const std::vector<double>& x, const std::vector<double>& w, int64_t begin,
                  int64_t clusters) {
  const auto n = static_cast<int64_t>(x.size());
  if (clusters == 1) return run_cost(x, w, begin, n);
  double least = std::numeric_limits<double>::infinity();
  for (int64_t end = begin; end <= n; ++end) {
    least = std::min(least, run_cost(x, w, begin, end) + least_cost(x, w, end, clusters - 1));
  }
  return least;
}

TEST(OptimalRuns, AreTheBestOfAll) {
  Random random(3);
  for (int64_t clusters = 1; clusters <= 4; ++clusters) {
    for (int trial = 0; trial < 20; ++trial) {
      std::vector<double> x(11), w(11);
      for (double& v : x) v = random.normal();
      for (double& v : w) v = random.uniform() + 0.05;
      std::sort(x.begin(), x.end());
      const auto runs = optimal_runs(x, w, clusters);
      double cost = 0;
      for (int64_t k = 0; k < clusters; ++k) {
        cost += run_cost(x, w, runs[k], k + 1 < clusters ? runs[k + 1] : 11);
      }
      EXPECT_NEAR(cost, least_cost(x, w, 0, clusters), 1e-9);
    }
  }
}

struct Points {
  torch::Tensor x, sub_hessians;
};

Points random_points(int64_t rows, int64_t places, int64_t d) {
  torch::manual_seed(4);
  const auto root =
      torch::randn({places, d, d}) * torch::logspace(-1, 1, places).reshape({-1, 1, 1});
  return {torch::randn({rows, places * d}),
          torch::bmm(root, root.transpose(1, 2)) + 0.01 * torch::eye(d)};
}

double cost_of(const Points& p, const InitialCodebooks& initial, int64_t rows) {
  const int64_t places = p.sub_hessians.size(0), d = p.sub_hessians.size(1), out = p.x.size(0);
  const GvqLayout layout{places * d, 1, rows, (out + rows - 1) / rows, d};
  const auto e =
      (p.x - gvq_decode(layout, initial.centroids, initial.codes, {})).reshape({out, places, 1, d});
  return torch::matmul(torch::matmul(e, p.sub_hessians), e.transpose(2, 3)).sum().item<double>();
}

TEST(InitialCodebooksOfTiles, MoreIterationsNeverCostMore) {
  for (const int64_t d : {1, 2, 4}) {
    const Points p = random_points(25, 24, d);
    double before = std::numeric_limits<double>::infinity();
    for (const int iterations : {0, 1, 3, 10, 100}) {
      const auto initial =
          initial_codebooks(p.x, {}, p.sub_hessians, 8, 8, CodebookInit::kPlusPlus, iterations, 1);
      const double cost = cost_of(p, initial, 8);
      EXPECT_LE(cost, before * (1 + 1e-6)) << d << " " << iterations;
      before = cost;
    }
    if (d == 1) {  // dynamic programming is exact
      const auto best = initial_codebooks(p.x, {}, p.sub_hessians, 8, 8, CodebookInit::kBest, 1, 1);
      EXPECT_LE(cost_of(p, best, 8), before * (1 + 1e-6));
    }
  }
}

TEST(InitialCodebooksOfTiles, CopiesAreNotNeededTwice) {
  // As many different vectors as centroids: every one is found, whatever the initial codebooks.
  torch::manual_seed(6);
  const auto vectors = torch::randn({8, 2});
  const auto x = vectors.index_select(0, torch::randint(8, {16 * 12})).reshape({16, 24});
  const Points p{x, torch::eye(2).repeat({12, 1, 1})};
  const auto initial =
      initial_codebooks(p.x, {}, p.sub_hessians, 16, 8, CodebookInit::kPlusPlus, 50, 2);
  EXPECT_LT(cost_of(p, initial, 16), 1e-9);
}

TEST(SolveCentroids, ReachesTheMinimumAndLowRankComesClose) {
  torch::manual_seed(7);
  const int64_t out = 20, in = 16;
  const GvqLayout layout{8, 2, 10, 2, 1};
  const auto x = torch::randn({60, in});
  GvqProblem problem{torch::randn({out, in}), torch::matmul(x.t(), x) / 30.0, layout,
                     torch::randint(4, {out * in, 1}, torch::kInt), torch::rand({out, 4}) + 0.5};
  const auto objective = [&](const torch::Tensor& centroids) {
    return problem.objective.error(
        problem.weight - gvq_decode(layout, centroids, problem.codes, problem.block_scales));
  };
  auto centroids = torch::randn({2, 2, 4, 1});
  double before = objective(centroids);
  for (int i = 0; i < 6; ++i) {
    centroids = solve_centroids(problem, centroids, 8);
    EXPECT_LE(objective(centroids), before * (1 + 1e-5));
    before = objective(centroids);
  }
  // At the minimum no centroid moves downhill.
  for (int64_t k = 0; k < centroids.numel(); ++k) {
    for (const double step : {-1e-2, 1e-2}) {
      auto moved = centroids.clone();
      moved.view(-1)[k] += step;
      EXPECT_GE(objective(moved), before * (1 - 1e-5));
    }
  }
  // Full rank loses nothing; less rank is no better, and each solve lowers it.
  const auto whole = low_rank_codebooks(centroids, 4);
  const auto rebuilt = torch::matmul(whole.coefficients.squeeze(3), whole.basis).unsqueeze(3);
  EXPECT_LT((rebuilt - centroids).abs().max().item<double>(), 1e-5);
  auto codebooks = low_rank_codebooks(centroids, 2);
  const auto product = [](const LowRankCodebooks& f) {
    return torch::matmul(f.coefficients.squeeze(3), f.basis).unsqueeze(3).contiguous();
  };
  double low_rank = objective(product(codebooks));
  EXPECT_GE(low_rank, before * (1 - 1e-5));
  for (int i = 0; i < 3; ++i) {
    codebooks = solve_low_rank(problem, codebooks, 8);
    EXPECT_LE(objective(product(codebooks)), low_rank * (1 + 1e-5));
    low_rank = objective(product(codebooks));
  }
}

}  // namespace
}  // namespace bitsmith
