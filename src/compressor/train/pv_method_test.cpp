// The PV method on a quadratic (PV-Tuning, algorithm 1 and appendix O), where both steps can be
// exact: phi(W) = sum a_ij (W_ij - W*_ij)^2, a_ij = h_j.
#include <gtest/gtest.h>

#include "compressor/train/test_matrices.h"
#include "compressor/train/v_step.h"

namespace bitsmith {
namespace {

class PvMethod : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    torch::manual_seed(21);
    objective_.hessian = torch::rand({64}) + 0.1;
    wanted_ = 0.3 * torch::randn({48, 64});
  }
  double phi() const {
    const torch::NoGradGuard no_grad;
    return objective_.error(wanted_ - term_.dequantize());
  }
  // M_P in one parameter, in which W is linear: least squares over its dense Jacobian, float64.
  void exact_p_step(torch::Tensor value) {
    const torch::NoGradGuard no_grad;
    const auto present = value.reshape({-1}).to(torch::kDouble);
    const auto roots = objective_.hessian.sqrt().to(torch::kDouble).repeat({48});
    // Columns of the Jacobian by differences: exact up to rounding, as W is linear in the value.
    std::vector<torch::Tensor> columns;
    value.zero_();
    const auto offset = term_.dequantize().reshape({-1}).to(torch::kDouble);
    for (int64_t i = 0; i < value.numel(); ++i) {
      value.view({-1})[i].fill_(1);
      columns.push_back(term_.dequantize().reshape({-1}).to(torch::kDouble) - offset);
      value.view({-1})[i].fill_(0);
    }
    const auto jacobian = torch::stack(columns, 1) * roots.unsqueeze(1);
    const auto right = (wanted_.reshape({-1}).to(torch::kDouble) - offset) * roots;
    // From the present value, so that what no weight depends on stays.
    const auto rest = right - torch::matmul(jacobian, present);
    const auto move = torch::matmul(torch::linalg_pinv(jacobian, 1e-10), rest);
    value.copy_((present + move).view_as(value).to(torch::kFloat));
  }

  const std::unique_ptr<Representation> representation_ = random_representation(GetParam(), 48, 64);
  CodedTerm& term_ = representation_->coded();
  Objective objective_;
  torch::Tensor wanted_;
};

// Theorem 3.1 (ii): phi(x^{k+1}) <= phi(y^k) <= phi(x^k).
TEST_P(PvMethod, ExactStepsNeverRaiseTheObjective) {
  double last = phi();
  const double first = last;
  for (int k = 0; k < 4; ++k) {
    exact_p_step(term_.continuous_parameters().front().value);
    const double after_p = phi();
    EXPECT_LE(after_p, last * (1 + 1e-6)) << k;
    assign_all_codes(term_, term_.search_codes(wanted_, objective_, {}));
    last = phi();
    EXPECT_LE(last, after_p * (1 + 1e-6)) << k;
  }
  EXPECT_LT(last, first);
}

// Lemma 3.3: with L at least the smoothness of phi the linearized V step does not raise it, over
// the whole space and in any subspace.
TEST_P(PvMethod, LinearizedStepsNeverRaiseTheObjective) {
  const double smoothness = 2 * objective_.hessian.max().item<double>();
  const double first = phi();
  double last = first;
  for (int k = 0; k < 6; ++k) {
    const torch::NoGradGuard no_grad;
    const auto gradient = 2 * objective_.hessian * (term_.dequantize() - wanted_);
    const bool whole = k % 2 == 0;
    v_step(term_, -gradient / smoothness, 1.0,
           {.trust_ratio = 1e6, .chunk = whole ? 1.0 : 0.1, .max_chunks = 1});
    const double now = phi();
    EXPECT_LE(now, last * (1 + 1e-6)) << k;
    last = now;
  }
  EXPECT_LT(last, first);
}

INSTANTIATE_TEST_SUITE_P(Representations, PvMethod,
                         testing::Values("int3g16", "aq1x4g4", "aq2x4g8", "aq1x4g4-s4x2",
                                         "gvq2d2b-n512"),
                         [](const auto& info) { return test_name(info.param); });

}  // namespace
}  // namespace bitsmith
