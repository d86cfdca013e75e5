#include "compressor/quantize/hessian.h"

#include <gtest/gtest.h>

namespace bitsmith {
namespace {

torch::Tensor random_hessian(int64_t n) {
  const auto x = torch::randn({2 * n, n}) * torch::logspace(-1, 1, n);
  return torch::matmul(x.t(), x) / static_cast<double>(n);
}

TEST(RowErrors, AreTheQuadraticFormOfEachRow) {
  torch::manual_seed(3);
  // One block of the Hessian, just one, one and a bit, several.
  for (const int64_t in : {1, 50, 384, 385, 1000}) {
    const auto d = torch::randn({37, in}), hessian = random_hessian(in);
    const auto wide = d.to(torch::kDouble);
    const auto expected = (torch::matmul(wide, hessian.to(torch::kDouble)) * wide).sum(1);
    const auto of = [&](bool exact) { return row_errors(d, hessian, exact); };
    const auto worst = [&](const torch::Tensor& found) {
      return ((found - expected).abs() / expected).max().item<double>();
    };
    EXPECT_LT(worst(of(true)), 1e-12) << in;
    EXPECT_LT(worst(of(false)), 1e-5) << in;
    EXPECT_NEAR(quadratic_error(d, hessian, true) / expected.sum().item<double>(), 1, 1e-12);
  }
  const auto d = torch::randn({5, 40});
  EXPECT_TRUE(torch::allclose(row_errors(d, {}, true), d.to(torch::kDouble).square().sum(1)));
}

TEST(RowErrors, DoNotDependOnThreads) {
  torch::manual_seed(4);
  const auto d = torch::randn({300, 900}), hessian = random_hessian(900);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = row_errors(d, hessian, false);
  at::set_num_threads(3);
  const auto three = row_errors(d, hessian, false);
  at::set_num_threads(threads);
  EXPECT_TRUE(torch::equal(one, three));
}

}  // namespace
}  // namespace bitsmith
