#include "compressor/objective/objective.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"

namespace bitsmith {
namespace {

torch::Tensor random_hessian(int64_t n) {
  const auto x = torch::randn({2 * n, n}) * torch::logspace(-1, 1, n);
  return torch::matmul(x.t(), x) / static_cast<double>(n);
}

torch::Tensor full(const torch::Tensor& matrix, int64_t size) {
  if (!matrix.defined()) return torch::eye(size, torch::kDouble);
  return (matrix.dim() == 1 ? torch::diag(matrix) : matrix).to(torch::kDouble);
}

// Every form of H and G, with a shift and without one.
std::vector<Objective> every_objective(int64_t out, int64_t in) {
  std::vector<Objective> all;
  for (const auto& h : {torch::Tensor(), torch::rand({in}) + 0.1, random_hessian(in)}) {
    for (const auto& g : {torch::Tensor(), torch::rand({out}), random_hessian(out)}) {
      for (const auto& shift : {torch::Tensor(), torch::randn({out, in})}) {
        Objective objective(h);
        objective.output_factor = g;
        objective.shift = shift;
        all.push_back(objective);
      }
    }
  }
  return all;
}

// tr(G E H E^T), word for word.
double trace_cost(const Objective& objective, const torch::Tensor& difference) {
  const auto e = objective.target(difference).to(torch::kDouble);
  const auto g = full(objective.output_factor, e.size(0)), h = full(objective.hessian, e.size(1));
  return torch::matmul(torch::matmul(torch::matmul(g, e), h), e.t()).trace().item<double>();
}

TEST(Objective, ErrorIsTheTrace) {
  torch::manual_seed(3);
  for (const auto& [out, in] : {std::pair{1, 1}, {3, 5}, {37, 40}}) {
    for (const Objective& objective : every_objective(out, in)) {
      const auto d = torch::randn({out, in});
      const double expected = trace_cost(objective, d);
      EXPECT_NEAR(objective.error(d), expected, 1e-10 * expected);
      EXPECT_NEAR(objective.error(d, /*exact=*/false), expected, 1e-4 * expected);
      EXPECT_NEAR(objective.row_errors(d).sum().item<double>(), expected, 1e-10 * expected);
      EXPECT_NEAR(objective.centered().error(objective.target(d)), expected, 1e-10 * expected);
    }
  }
}

TEST(Objective, ApplyIsHalfTheGradient) {
  torch::manual_seed(4);
  for (const Objective& objective : every_objective(4, 6)) {
    const auto d = torch::randn({4, 6}), slope = 2 * objective.apply(d);
    for (int64_t i = 0; i < d.numel(); ++i) {
      auto step = torch::zeros({4, 6});
      step.reshape(-1)[i] = 0.25;  // a quadratic function: any step does
      const double difference = (objective.error(d + step) - objective.error(d - step)) / 0.5;
      EXPECT_NEAR(slope.reshape(-1)[i].item<double>(), difference,
                  1e-4 * slope.abs().max().item<double>());
    }
  }
}

TEST(Objective, RowWeightsScaleRows) {
  torch::manual_seed(5);
  Objective plain(random_hessian(50)), weighted = plain;
  weighted.output_factor = torch::rand({7});
  const auto d = torch::randn({7, 50});
  EXPECT_TRUE(torch::allclose(weighted.row_errors(d),
                              plain.row_errors(d) * weighted.output_factor.to(torch::kDouble)));
  Objective whole = plain;
  whole.output_factor = torch::diag(weighted.output_factor);
  EXPECT_NEAR(whole.error(d) / weighted.error(d), 1, 1e-10);
  EXPECT_TRUE(torch::allclose(whole.apply(d), weighted.apply(d), 1e-4, 1e-4));
  EXPECT_TRUE(torch::equal(whole.row_weights(), weighted.row_weights()));
}

TEST(Objective, BlocksAreThoseOfTheHessian) {
  torch::manual_seed(6);
  for (const Objective& objective : every_objective(2, 12)) {
    const auto h = objective.dense_hessian(12), sub_hessians = objective.sub_hessians(12, 4);
    EXPECT_TRUE(torch::equal(full(h, 12), full(objective.hessian, 12)));
    for (int64_t j = 0; j < 3; ++j) {
      EXPECT_TRUE(
          torch::equal(sub_hessians[j], h.slice(0, 4 * j, 4 * j + 4).slice(1, 4 * j, 4 * j + 4)));
    }
    const auto u = objective.factor(12, 0).to(torch::kDouble);
    EXPECT_TRUE(torch::allclose(torch::matmul(torch::matmul(u.t(), u), full(h, 12)),
                                torch::eye(12, torch::kDouble), 1e-3, 1e-3));
  }
}

TEST(Objective, RotationsKeepTheError) {
  torch::manual_seed(7);
  const int64_t out = 6, in = 10;
  const auto rotation = [](int64_t n) {
    const auto q = std::get<0>(torch::linalg_qr(torch::randn({n, n})));
    return [q](const torch::Tensor& x) { return torch::matmul(x, q.t()); };
  };
  const Objective::Rotation r_in = rotation(in), r_out = rotation(out);
  const auto d = torch::randn({out, in});
  for (const Objective& objective : every_objective(out, in)) {
    const double expected = objective.error(d);
    const auto across = [&](const torch::Tensor& x) { return r_out(x.t().contiguous()).t(); };
    EXPECT_NEAR(objective.rotated(r_in, r_out).error(across(r_in(d))) / expected, 1, 1e-5);
    EXPECT_NEAR(objective.rotated(r_in, {}).error(r_in(d)) / expected, 1, 1e-5);
    EXPECT_NEAR(objective.rotated({}, r_out).error(across(d)) / expected, 1, 1e-5);
    EXPECT_EQ(objective.rotated({}, {}).error(d), expected);
    const Objective both = objective.rotated(r_in, r_out);
    EXPECT_EQ(both.joins_rows(), objective.output_factor.defined());
    EXPECT_EQ(both.hessian.defined(), objective.hessian.defined());
    if (both.joins_inputs()) {
      EXPECT_TRUE(torch::equal(both.hessian, both.hessian.t()));
    }
  }
}

TEST(Objective, WhatDoesNotFitIsRefused) {
  const auto message = [](const Objective& objective) -> std::string {
    try {
      objective.check(3, 2);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  Objective good(torch::eye(2));
  good.output_factor = torch::ones({3});
  good.shift = torch::zeros({3, 2});
  EXPECT_EQ(message(good), "");
  const auto with = [&](const torch::Tensor& output) {
    Objective objective = good;
    objective.output_factor = output;
    return message(objective);
  };
  EXPECT_EQ(with(torch::eye(3)), "");
  EXPECT_NE(with(torch::ones({2})).find("3 weights of rows"), std::string::npos);
  EXPECT_NE(with(torch::ones({3, 2})).find("3 x 3"), std::string::npos);
  EXPECT_NE(with(torch::tensor({1.0, -1.0, 1.0})).find("negative weight for row 1"),
            std::string::npos);
  EXPECT_NE(with(-torch::eye(3)).find("negative"), std::string::npos);
  EXPECT_NE(with(torch::ones({3, 3}).triu()).find("symmetric"), std::string::npos);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(with(torch::full({3, 3}, nan)).find("NaN"), std::string::npos);
  EXPECT_NE(message(Objective(torch::eye(3))).find("Hessian of 2 x 2"), std::string::npos);
  EXPECT_NE(message(Objective(torch::full({2, 2}, nan))).find("[0, 0]"), std::string::npos);
  good.shift = torch::zeros({2, 2});
  EXPECT_NE(message(good).find("shift"), std::string::npos);
}

// Around the size of the Hessian's parts that row_errors() takes at once.
TEST(RowErrors, AreTheQuadraticFormOfEachRow) {
  torch::manual_seed(3);
  for (const int64_t in : {1, 50, 384, 385, 1000}) {
    const auto d = torch::randn({37, in}), hessian = random_hessian(in);
    const auto wide = d.to(torch::kDouble);
    const auto expected = (torch::matmul(wide, hessian.to(torch::kDouble)) * wide).sum(1);
    const auto worst = [&](bool exact) {
      const auto found = Objective(hessian).row_errors(d, exact);
      return ((found - expected).abs() / expected).max().item<double>();
    };
    EXPECT_LT(worst(true), 1e-12) << in;
    EXPECT_LT(worst(false), 1e-5) << in;
  }
}

TEST(RowErrors, DoNotDependOnThreads) {
  torch::manual_seed(4);
  const auto d = torch::randn({300, 900});
  Objective objective(random_hessian(900));
  for (const auto& g : {torch::Tensor(), random_hessian(300)}) {
    objective.output_factor = g;
    const int threads = at::get_num_threads();
    at::set_num_threads(1);
    const auto one = objective.row_errors(d, false);
    at::set_num_threads(3);
    const auto three = objective.row_errors(d, false);
    at::set_num_threads(threads);
    EXPECT_TRUE(torch::equal(one, three));
  }
}

}  // namespace
}  // namespace bitsmith
