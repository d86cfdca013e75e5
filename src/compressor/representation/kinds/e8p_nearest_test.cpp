#include "compressor/representation/kinds/e8p_nearest.h"

#include <gtest/gtest.h>

#include <cmath>

#include "compressor/torch.h"

namespace bitsmith {
namespace {

// Every point in turn, in float64.
TEST(E8pNearest, IsThatOfAllPoints) {
  torch::manual_seed(3);
  const auto points = torch::from_blob(const_cast<float*>(e8p_points().data()), {1 << 16, kE8Size})
                          .to(torch::kDouble);
  const auto mixed = [](int64_t samples, double mean) {
    const auto x = torch::randn({samples, kE8Size}) + mean;
    return torch::matmul(x.t(), x) / samples;
  };
  auto dead = mixed(40, 0.2);  // two inputs that were never active
  dead.slice(0, 3, 5).zero_();
  dead.slice(1, 3, 5).zero_();
  for (const auto& b :
       {torch::eye(kE8Size), torch::diag(torch::rand({kE8Size}) + 0.1), mixed(200, 0), mixed(20, 1),
        1e-8 * mixed(20, 1), mixed(3, 0), dead, torch::zeros({kE8Size, kE8Size})}) {
    E8pNearest nearest;
    nearest.prepare(b.contiguous().const_data_ptr<float>());
    const auto wide = b.to(torch::kDouble);
    const auto norms = (torch::matmul(points, wide) * points).sum(1);
    for (int trial = 0; trial < 12; ++trial) {
      // Near the origin, and far outside of all points.
      const auto wanted = torch::randn({kE8Size}) * (trial % 4 == 3 ? 5 : 1);
      const auto linear = torch::matmul(b, wanted).contiguous();
      const auto costs = norms - 2 * torch::matmul(points, linear.to(torch::kDouble));
      const auto found = nearest.find(kernels().search, linear.const_data_ptr<float>());
      const double best = costs.min().item<double>();
      const double size = norms.abs().max().item<double>() + std::abs(best);
      EXPECT_NEAR(costs[found.code].item<double>(), best, 1e-5 * size) << b << wanted;
      EXPECT_NEAR(found.cost, costs[found.code].item<double>(), 1e-5 * size);
      EXPECT_EQ(found.cost, nearest.cost(found.code, linear.const_data_ptr<float>()));
      const auto second =
          nearest.find(kernels().search, linear.const_data_ptr<float>(), found.code);
      EXPECT_NE(second.code, found.code);
      EXPECT_NEAR(
          costs[second.code].item<double>(),
          costs.index_fill(0, torch::tensor(int64_t{found.code}), HUGE_VAL).min().item<double>(),
          1e-5 * size);
    }
  }
}

}  // namespace
}  // namespace bitsmith
