#include <algorithm>

#include "base/error.h"
#include "compressor/quantize/corrections.h"
#include "compressor/quantize/hessian.h"
#include "compressor/quantize/inverse_factor.h"
#include "compressor/representation/sparse_term.h"

namespace bitsmith {
namespace {

constexpr int kAdmmIterations = 20;

// Flat places of the `count` largest values, ascending.
torch::Tensor largest_places(const torch::Tensor& importance, int64_t count) {
  const auto places = std::get<1>(importance.reshape(-1).topk(count));
  return std::get<0>(places.sort());
}

// The error that leaving a weight out would bring back, all others free to make it good (SpQR,
// Dettmers et al. 2023): residual^2 / [H^-1]_jj.
torch::Tensor saliency(const torch::Tensor& residual, const torch::Tensor& hessian,
                       double damping) {
  if (!hessian.defined()) return residual.square();
  return residual.square() / inverse_factor(hessian, damping).square().sum(0);
}

// The places of the sparse S that makes tr((E - S) H (E - S)^T) small, by the alternating direction
// method of multipliers (PV-Tuning, appendix J): S free, Z sparse, U their running difference.
torch::Tensor admm_importance(const torch::Tensor& residual, const torch::Tensor& hessian,
                              int64_t count) {
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
                            const torch::Tensor& residual, const torch::Tensor& hessian,
                            const QuantizeOptions& options) {
  switch (options.outliers) {
    case OutlierChoice::kMagnitude:
      return largest_places(weight.abs(), spec.count);
    case OutlierChoice::kSaliency:
      return largest_places(saliency(residual, hessian, options.damping), spec.count);
    case OutlierChoice::kAdmm:
      return largest_places(admm_importance(residual, hessian, spec.count), spec.count);
  }
  BITSMITH_CHECK(false);
  return {};
}

// The values s at a row's places P with the least (e - s) H (e - s)^T: H_PP s_P = (e H)_P.
torch::Tensor best_values(const torch::Tensor& residual, const torch::Tensor& hessian,
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

}  // namespace

FittedCorrection fit_correction(const SparseSpec& spec, const torch::Tensor& weight,
                                const torch::Tensor& residual, const torch::Tensor& hessian,
                                const QuantizeOptions& options) {
  const SparseSpec exact = spec.resolved(weight.size(0), weight.size(1), "");
  const auto places = choose_places(exact, weight, residual, hessian, options);
  auto term = std::make_unique<SparseTerm>(places, best_values(residual, hessian, places),
                                           weight.size(0), weight.size(1));
  term->project();
  const auto whole = weight.reshape(-1).index_select(0, places);
  return {std::move(term),
          torch::zeros_like(weight).reshape(-1).index_put({places}, whole).reshape(weight.sizes())};
}

}  // namespace bitsmith
