#include "compressor/quantize/quantizer.h"

#include <chrono>

#include "base/error.h"
#include "compressor/quantize/corrections.h"
#include "compressor/quantize/hessian.h"
#include "compressor/quantize/methods.h"

namespace bitsmith {
namespace {

void require_finite(const torch::Tensor& matrix, const char* what) {
  if (torch::isfinite(matrix).all().item<bool>()) return;
  const auto bad = torch::isfinite(matrix).logical_not().nonzero()[0];
  throw Error(concat("the ", what, " holds NaN or infinity, first at [", bad[0].item<int64_t>(),
                     ", ", bad[1].item<int64_t>(), "]; it cannot be quantized"));
}

void check_inputs(const torch::Tensor& weight, const torch::Tensor& hessian,
                  const RepresentationSpec& spec) {
  if (weight.dim() != 2) throw Error("the weight to quantize is not a matrix");
  part_layout(spec, weight.size(0), weight.size(1));  // throws when the group size does not fit
  require_finite(weight, "weight");
  if (!hessian.defined()) return;
  if (hessian.dim() != 2 || hessian.size(0) != weight.size(1) ||
      hessian.size(1) != weight.size(1)) {
    throw Error(concat("a weight with ", weight.size(1), " inputs needs a Hessian of ",
                       weight.size(1), " x ", weight.size(1)));
  }
  require_finite(hessian, "Hessian");
}

// The term with codes, for `target`.
std::unique_ptr<CodedTerm> quantize_coded(const torch::Tensor& target, const torch::Tensor& hessian,
                                          const RepresentationSpec& spec,
                                          const QuantizeOptions& options,
                                          std::vector<StageReport>& stages) {
  return visit_coded(spec.terms.front(), [&](const auto& kind) {
    return options.method == Method::kRtn ? round_to_nearest(target, kind, options)
                                          : one_shot(target, hessian, kind, options, stages);
  });
}

struct Corrections {
  std::vector<std::unique_ptr<Term>> terms;
  torch::Tensor spared;    // their sum, see FittedCorrection
  torch::Tensor residual;  // what all terms leave
};

// The corrections of spec in turn, each for what is left so far.
Corrections fit_corrections(const torch::Tensor& weight, const torch::Tensor& residual,
                            const torch::Tensor& hessian, const RepresentationSpec& spec,
                            const QuantizeOptions& options) {
  Corrections all{{}, torch::zeros_like(weight), residual};
  for (size_t i = 1; i < spec.terms.size(); ++i) {
    std::visit(
        [&](const auto& kind) {
          if constexpr (std::decay_t<decltype(kind)>::kCorrects) {
            auto fitted = fit_correction(kind, weight - all.spared, all.residual, hessian, options);
            all.spared = all.spared + fitted.spared;
            all.residual = all.residual - fitted.term->dequantize();
            all.terms.push_back(std::move(fitted.term));
          }
        },
        spec.terms[i]);
  }
  return all;
}

// The term with codes and its corrections, each for what the others leave, in rounds while the
// error falls. The best round is kept.
std::unique_ptr<Representation> quantize_sum(const torch::Tensor& weight,
                                             const torch::Tensor& hessian,
                                             const RepresentationSpec& spec,
                                             const QuantizeOptions& options,
                                             std::vector<StageReport>& stages) {
  if (spec.terms.size() == 1) {
    return std::make_unique<Representation>(quantize_coded(weight, hessian, spec, options, stages));
  }
  const auto start = std::chrono::steady_clock::now();
  const torch::Tensor metric = options.method == Method::kRtn ? torch::Tensor() : hessian;
  std::unique_ptr<Representation> best;
  double least = 0;
  torch::Tensor target = weight;
  for (int round = 1; round <= std::max(1, options.sum_rounds); ++round) {
    std::vector<StageReport> of_codes;  // another objective than the sum's
    auto coded = quantize_coded(target, hessian, spec, options, of_codes);
    Corrections corrections =
        fit_corrections(weight, weight - coded->dequantize(), metric, spec, options);
    const double error = relative_error(weight, weight - corrections.residual, metric);
    if (best && !(error < least)) break;
    least = error;
    target = weight - corrections.spared;
    best = std::make_unique<Representation>(std::move(coded), std::move(corrections.terms));
    if (options.method == Method::kRtn) continue;  // another objective than the layer's
    stages.push_back(
        {concat("sum ", round), error,
         std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()});
  }
  return best;
}

}  // namespace

double relative_error(const torch::Tensor& weight, const torch::Tensor& quantized,
                      const torch::Tensor& hessian) {
  const double total = quadratic_error(weight, hessian, /*exact=*/true);
  const double error = quadratic_error(weight - quantized, hessian, /*exact=*/true);
  return total > 0 ? error / total : 0;
}

QuantizedLayer quantize_layer(const torch::Tensor& weight, const torch::Tensor& hessian,
                              const RepresentationSpec& spec, const QuantizeOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto start = std::chrono::steady_clock::now();
  check_inputs(weight, hessian, spec);
  check_method(options.method, spec);
  const auto w = weight.to(torch::kFloat).contiguous();
  const auto h = hessian.defined() ? hessian.to(torch::kFloat).contiguous() : hessian;
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };

  QuantizedLayer layer;
  layer.representation = quantize_sum(w, h, spec, options, layer.stages);
  layer.relative_error = relative_error(w, layer.representation->dequantize(), h);
  layer.seconds = elapsed();
  if (layer.stages.empty()) {
    layer.stages.push_back({method_name(options.method), layer.relative_error, layer.seconds});
  }
  return layer;
}

}  // namespace bitsmith
