#include "compressor/objective/inverse_factor.h"

#include <gtest/gtest.h>

namespace bitsmith {
namespace {

torch::Tensor skewed_hessian(int64_t n) {
  torch::manual_seed(n);
  const auto x = torch::randn({3 * n, n}) * torch::logspace(-1.5, 1.5, n);
  return torch::matmul(x.t(), x) / static_cast<double>(n);
}

TEST(InverseFactor, ItsSquareIsTheInverseOfTheDampedHessian) {
  for (const int64_t n : {1, 7, 96, 192, 193, 500}) {
    const auto hessian = skewed_hessian(n);
    const auto u = inverse_factor(hessian, 0.01).to(torch::kDouble);
    EXPECT_TRUE(torch::equal(u, u.triu()));
    auto damped = hessian.to(torch::kDouble);
    damped.diagonal().add_(0.01 * damped.diagonal().mean());
    const auto identity = torch::matmul(torch::matmul(u, damped), u.t());
    EXPECT_LT((identity - torch::eye(n, torch::kDouble)).abs().max().item<double>(), 1e-4) << n;
  }
}

TEST(InverseFactor, DoesNotDependOnThreads) {
  const int threads = at::get_num_threads();
  for (const int64_t n : {385, 700}) {  // 385: the last block has one row
    const auto hessian = skewed_hessian(n);
    at::set_num_threads(1);
    const auto one = inverse_factor(hessian, 0.01);
    at::set_num_threads(3);
    const auto three = inverse_factor(hessian, 0.01);
    at::set_num_threads(threads);
    EXPECT_TRUE(torch::equal(one, three)) << n;
  }
}

TEST(InverseFactor, DeadAndDependentInputs) {
  const auto x = torch::randn({300});
  EXPECT_TRUE(torch::isfinite(inverse_factor(torch::outer(x, x), 0.0)).all().item<bool>());
  auto hessian = skewed_hessian(300);
  hessian[5].zero_();
  hessian.select(1, 5).zero_();
  const auto u = inverse_factor(hessian, 0.0);
  EXPECT_NEAR(u[5][5].item<double>(), 1, 1e-6);
  EXPECT_EQ(u[5].slice(0, 6).abs().max().item<double>(), 0);
}

TEST(InvertLower, GivesTheInverse) {
  torch::manual_seed(2);
  for (const int64_t n : {1, 50, 192, 193, 385, 450}) {
    const auto lower = (torch::randn({n, n}, torch::kDouble) / n).tril() + torch::eye(n);
    auto inverse = lower + torch::randn({n, n}).triu(1);  // and garbage above
    invert_lower_(inverse);
    EXPECT_TRUE(torch::equal(inverse, inverse.tril()));
    EXPECT_LT((torch::matmul(lower, inverse) - torch::eye(n)).abs().max().item<double>(), 1e-10);
  }
}

}  // namespace
}  // namespace bitsmith
