#include "compressor/objective/output_factor.h"

#include "compressor/objective/half_noise.h"
#include "compressor/objective/inverse_factor.h"
#include "compressor/objective/row_products.h"

namespace bitsmith {
namespace {

// Of errors Ubar^T Z over those of Z, by the held-out second moment A: the sums over rows of
// size^2 (Ubar A Ubar^T)_rr and of size^2 A_rr.
double cost_of_feedback(const torch::Tensor& factor, const torch::Tensor& held_out,
                        const torch::Tensor& row_sizes, double damping) {
  const torch::Tensor squares = row_sizes.to(torch::kDouble).square();
  const auto cost = [&](const torch::Tensor& of_rows) {
    return (of_rows.to(torch::kDouble) * squares).sum().item<double>();
  };
  const double without = cost(held_out.diagonal());
  if (!(without > 0)) return 1;
  const torch::Tensor feedback = feedback_matrix(factor, damping);
  return cost((row_chunked_matmul(feedback, held_out) * feedback).sum(1)) / without;
}

}  // namespace

SecondMoment joined(const SecondMoment& first, const SecondMoment& second) {
  const double weight = first.weight + second.weight;
  if (!(weight > 0)) return first;
  return {first.matrix * (first.weight / weight) + second.matrix * (second.weight / weight),
          weight};
}

torch::Tensor feedback_matrix(const torch::Tensor& hessian, double damping) {
  const torch::Tensor factor = inverse_factor(hessian, damping);
  return factor / factor.diagonal().unsqueeze(1);
}

OutputFactorEstimate estimate_output_factor(const OutputMoments& moments,
                                            const torch::Tensor& row_sizes, double damping) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor mean = joined(moments.first, moments.second).matrix;
  const double scale = mean.diagonal().mean(torch::kDouble).item<double>();
  if (!(scale > 0)) return {};
  OutputFactorEstimate estimate;
  estimate.shrinkage = hessian_noise(moments.first.matrix, moments.second.matrix);
  estimate.factor = shrunk_hessian(mean / scale, estimate.shrinkage);
  estimate.held_out_cost =
      cost_of_feedback(estimate.factor, moments.held_out.matrix, row_sizes, damping);
  return estimate;
}

}  // namespace bitsmith
