#include "compressor/representation/kinds/low_rank.h"
#include "base/random.h"
#include "compressor/objective/inverse_factor.h"
#include "compressor/objective/row_products.h"
#include "compressor/quantize/corrections.h"

namespace bitsmith {
namespace {

constexpr int64_t kMoreVectors = 8;  // than the rank, for convergence
constexpr int kIterations = 8;

// An orthonormal basis of the columns of `y` [n, k], by two rounds of Cholesky QR in float64.
torch::Tensor orthonormal(const torch::Tensor& y) {
  auto basis = y.to(torch::kDouble);
  for (int round = 0; round < 2; ++round) {
    const auto gram = row_chunked_matmul(basis.t().contiguous(), basis);
    const double jitter = 1e-14 * gram.diagonal().sum().item<double>() + 1e-300;
    const auto lower =
        torch::linalg_cholesky(gram + jitter * torch::eye(gram.size(0), gram.options()));
    const auto inverse = torch::linalg_solve_triangular(
        lower, torch::eye(gram.size(0), gram.options()), /*upper=*/false);
    basis = row_chunked_matmul(basis, inverse.t().contiguous());
  }
  return basis.to(torch::kFloat).contiguous();
}

torch::Tensor start(int64_t rows, int64_t columns, uint64_t seed) {
  auto values = torch::empty({rows, columns}, torch::kFloat);
  Random random(seed);
  auto* data = values.mutable_data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) data[i] = static_cast<float>(random.normal());
  return values;
}

// G = R R^T: an error E costs what R^T E costs without G. What is found for R^T E is taken back by
// R^-T.
struct OutputRoot {
  torch::Tensor transposed, inverse;  // R^T, R^-T; diagonals [out]; undefined: the identity

  torch::Tensor apply(const torch::Tensor& matrix) const { return times(transposed, matrix); }
  torch::Tensor take_back(const torch::Tensor& matrix) const { return times(inverse, matrix); }

 private:
  static torch::Tensor times(const torch::Tensor& factor, const torch::Tensor& matrix) {
    if (!factor.defined()) return matrix;
    return factor.dim() == 1 ? factor.unsqueeze(1) * matrix : row_chunked_matmul(factor, matrix);
  }
};

OutputRoot output_root(const Objective& objective, double damping) {
  const auto& g = objective.output_factor;
  if (!g.defined()) return {};
  if (!objective.joins_rows()) {  // a row that costs nothing keeps a little weight, for its inverse
    const double mean = g.mean().item<double>();
    const auto root = g.clamp_min(mean > 0 ? 1e-4 * mean : 1.0).sqrt();
    return {root, root.reciprocal()};
  }
  const auto upper = inverse_factor(g, damping);  // G^-1 = U^T U: R = U^-1
  auto lower = upper.t().to(torch::kDouble).contiguous();
  invert_lower_(lower);  // R^T
  return {lower.to(torch::kFloat), upper.t().contiguous()};
}

}  // namespace

// The leading left singular vectors U of E H^(1/2) span the best left factor; U^T E is the best
// right one, whatever the norm of inputs.
FittedCorrection fit_correction(const LowRankSpec& spec, const torch::Tensor& weight,
                                const torch::Tensor& unweighted, const Objective& objective,
                                const QuantizeOptions& options) {
  const int64_t out = weight.size(0), in = weight.size(1);
  const int64_t vectors = std::min({spec.rank + kMoreVectors, out, in});
  const auto root = output_root(objective, options.damping);
  const auto residual = root.apply(unweighted);
  const auto& hessian = objective.hessian;
  const auto transposed = residual.t().contiguous();
  const auto apply = [&](const torch::Tensor& u) {  // E H E^T u
    const auto inner = row_chunked_matmul(transposed, u);
    return row_chunked_matmul(residual,
                              hessian.defined() ? row_chunked_matmul(hessian, inner) : inner);
  };
  auto u = orthonormal(start(out, vectors, options.seed));
  for (int i = 0; i < kIterations; ++i) u = orthonormal(apply(u));
  const auto small = row_chunked_matmul(u.t().contiguous(), apply(u)).to(torch::kDouble);
  const auto axes = std::get<1>(torch::linalg_eigh((small + small.t()) / 2));  // rising
  u = row_chunked_matmul(u, axes.flip(1).narrow(1, 0, spec.rank).to(torch::kFloat).contiguous());
  auto right = row_chunked_matmul(u.t().contiguous(), residual);
  if (objective.output_factor.defined()) {
    u = root.take_back(u);
    const auto norm = u.norm(2, 0, /*keepdim=*/true).clamp_min(1e-20);
    u = u / norm;
    right = right * norm.t();
  }
  // Both factors about as large, for fp16.
  const auto scale = right.norm(2, 1, /*keepdim=*/true).clamp_min(1e-20).sqrt();
  auto term = std::make_unique<LowRankTerm>(u * scale.t(), right / scale);
  term->project();
  const torch::NoGradGuard no_grad;
  auto spared = term->dequantize();
  return {std::move(term), std::move(spared)};
}

}  // namespace bitsmith
