#include <algorithm>

#include "base/error.h"
#include "compressor/objective/inverse_factor.h"
#include "compressor/objective/row_products.h"
#include "compressor/quantize/conjugate_gradients.h"
#include "compressor/quantize/corrections.h"
#include "compressor/representation/kinds/sparse.h"

namespace bitsmith {
namespace {

constexpr int kAdmmIterations = 20;
constexpr int kValueIterations = 16;  // of conjugate gradients, where rows meet

// Flat places of the `count` largest values, ascending.
torch::Tensor largest_places(const torch::Tensor& importance, int64_t count) {
  const auto places = std::get<1>(importance.reshape(-1).topk(count));
  return std::get<0>(places.sort());
}

// The error that leaving a weight out would bring back, all others free to make it good (SpQR,
// Dettmers et al. 2023): residual^2 / ([G^-1]_rr [H^-1]_jj).
torch::Tensor saliency(const torch::Tensor& residual, const Objective& objective, double damping) {
  const auto inverse_diagonal = [&](const torch::Tensor& matrix) {
    return inverse_factor(matrix, damping).square().sum(0);
  };
  auto importance = residual.square();
  if (objective.hessian.defined()) importance = importance / inverse_diagonal(objective.hessian);
  if (!objective.output_factor.defined()) return importance;
  return objective.joins_rows()
             ? importance / inverse_diagonal(objective.output_factor).unsqueeze(1)
             : importance * objective.output_factor.unsqueeze(1);
}

// The places of the sparse S that makes tr(G (E - S) H (E - S)^T) small, by the alternating
// direction method of multipliers (PV-Tuning, appendix J): S free, Z sparse, U their running
// difference. Where rows have weights, all three are those of rows times the weights' roots.
torch::Tensor admm_importance(const torch::Tensor& error, const Objective& objective,
                              int64_t count) {
  if (objective.joins_rows()) {
    throw Error(
        "outliers cannot be chosen by admm with a full output factor: choose them by saliency or "
        "magnitude");
  }
  const torch::Tensor& hessian = objective.hessian;
  const auto residual = objective.output_factor.defined()
                            ? error * objective.output_factor.sqrt().unsqueeze(1)
                            : error;
  if (!hessian.defined()) return residual.square();
  const auto rho = hessian.diagonal().mean();
  const auto factor =
      inverse_factor(hessian + rho * torch::eye(hessian.size(0), hessian.options()), /*damping=*/0);
  const auto correlation = row_chunked_matmul(residual, hessian);
  auto sparse = torch::zeros_like(residual), difference = torch::zeros_like(residual);
  for (int i = 0; i < kAdmmIterations; ++i) {
    const auto wanted = correlation + rho * (sparse - difference);
    const auto free = row_chunked_matmul(row_chunked_matmul(wanted, factor.t()), factor);
    difference += free;
    sparse.zero_();
    const auto places = largest_places(difference.abs(), count);
    sparse.reshape(-1).index_put_({places}, difference.reshape(-1).index_select(0, places));
    difference -= sparse;
  }
  return sparse.square();
}

torch::Tensor choose_places(const SparseSpec& spec, const torch::Tensor& weight,
                            const torch::Tensor& residual, const Objective& objective,
                            const QuantizeOptions& options) {
  switch (options.outliers) {
    case OutlierChoice::kMagnitude:
      return largest_places(weight.abs(), spec.count);
    case OutlierChoice::kSaliency:
      return largest_places(saliency(residual, objective, options.damping), spec.count);
    case OutlierChoice::kAdmm:
      return largest_places(admm_importance(residual, objective, spec.count), spec.count);
  }
  BITSMITH_CHECK(false);
  return {};
}

// The values s at a row's places P with the least (e - s) H (e - s)^T: H_PP s_P = (e H)_P. A row's
// weight changes nothing.
torch::Tensor best_values_of_rows(const torch::Tensor& residual, const torch::Tensor& hessian,
                                  const torch::Tensor& places) {
  auto values = residual.reshape(-1).index_select(0, places);
  if (!hessian.defined()) return values;
  const int64_t in = residual.size(1), count = places.numel();
  const auto correlation = row_chunked_matmul(residual, hessian).reshape(-1);
  // Towards the residual itself where the Hessian leaves values open, as dead inputs do.
  const double ridge = std::max(1e-6 * hessian.diagonal().mean().item<double>(), 1e-100);
  const auto* place = places.const_data_ptr<int64_t>();
  for (int64_t first = 0, end; first < count; first = end) {
    end = first;
    while (end < count && place[end] / in == place[first] / in) ++end;
    const auto columns = places.slice(0, first, end).remainder(in);
    const auto own = hessian.index_select(0, columns).index_select(1, columns).to(torch::kDouble);
    own.diagonal().add_(ridge);
    const auto right = correlation.index_select(0, places.slice(0, first, end)).to(torch::kDouble) +
                       ridge * values.slice(0, first, end);
    values.slice(0, first, end).copy_(std::get<0>(torch::linalg_solve_ex(own, right)));
  }
  return values;
}

torch::Tensor best_values(const torch::Tensor& residual, const Objective& objective,
                          const torch::Tensor& places) {
  const auto values = best_values_of_rows(residual, objective.hessian, places);
  if (!objective.joins_rows()) return values;
  const int64_t in = residual.size(1);
  const auto spread = [&](const torch::Tensor& v) {
    return torch::zeros_like(residual).reshape(-1).index_put({places}, v).reshape(residual.sizes());
  };
  const auto gather = [&](const torch::Tensor& dense) {
    return dense.reshape(-1).index_select(0, places);
  };
  auto curvature =
      objective.row_weights().index_select(0, places.div(in, /*rounding_mode=*/"floor"));
  if (objective.hessian.defined()) {
    curvature = curvature * objective.hessian.diagonal().index_select(0, places.remainder(in));
  }
  const auto inverse =
      torch::where(curvature > 0, curvature, torch::ones_like(curvature)).reciprocal();
  return conjugate_gradients(
      values, gather(objective.apply(residual - spread(values))),
      [&](const torch::Tensor& x) { return gather(objective.apply(spread(x))); },
      [&](const torch::Tensor& r) { return r * inverse; }, kValueIterations, /*systems=*/1);
}

}  // namespace

FittedCorrection fit_correction(const SparseSpec& spec, const torch::Tensor& weight,
                                const torch::Tensor& residual, const Objective& objective,
                                const QuantizeOptions& options) {
  const SparseSpec exact = spec.resolved(weight.size(0), weight.size(1), "");
  const auto places = choose_places(exact, weight, residual, objective, options);
  auto term = std::make_unique<SparseTerm>(places, best_values(residual, objective, places),
                                           weight.size(0), weight.size(1));
  term->project();
  const auto whole = weight.reshape(-1).index_select(0, places);
  return {std::move(term),
          torch::zeros_like(weight).reshape(-1).index_put({places}, whole).reshape(weight.sizes())};
}

std::string output_factor_obstacle(const SparseSpec&, const QuantizeOptions& options) {
  return options.outliers == OutlierChoice::kAdmm
             ? "outliers are chosen by saliency or magnitude then, not by admm"
             : "";
}

}  // namespace bitsmith
