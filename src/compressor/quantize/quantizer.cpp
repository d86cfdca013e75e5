#include "compressor/quantize/quantizer.h"

#include <chrono>

#include "base/error.h"
#include "compressor/quantize/corrections.h"
#include "compressor/quantize/methods.h"

namespace bitsmith {
namespace {

void check_weight(const torch::Tensor& weight, const RepresentationSpec& spec) {
  if (weight.dim() != 2) throw Error("the weight to quantize is not a matrix");
  part_layout(spec, weight.size(0), weight.size(1));  // throws when the group size does not fit
  if (torch::isfinite(weight).all().item<bool>()) return;
  const auto bad = torch::isfinite(weight).logical_not().nonzero()[0];
  throw Error(concat("the weight holds NaN or infinity, first at [", bad[0].item<int64_t>(), ", ",
                     bad[1].item<int64_t>(), "]; it cannot be quantized"));
}

torch::Tensor as_float(const torch::Tensor& tensor) {
  return tensor.defined() ? tensor.to(torch::kFloat).contiguous() : tensor;
}

// The term with codes, for `target`.
std::unique_ptr<CodedTerm> quantize_coded(const torch::Tensor& target, const Objective& objective,
                                          const RepresentationSpec& spec,
                                          const QuantizeOptions& options,
                                          std::vector<StageReport>& stages) {
  return visit_coded(spec.terms.front(), [&](const auto& kind) {
    return options.method == Method::kRtn ? round_to_nearest(target, kind, options)
                                          : one_shot(target, objective, kind, options, stages);
  });
}

struct Corrections {
  std::vector<std::unique_ptr<Term>> terms;
  torch::Tensor spared;    // their sum, see FittedCorrection
  torch::Tensor residual;  // what all terms leave
};

// The corrections of spec in turn, each for what is left so far.
Corrections fit_corrections(const torch::Tensor& weight, const torch::Tensor& residual,
                            const Objective& objective, const RepresentationSpec& spec,
                            const QuantizeOptions& options) {
  Corrections all{{}, torch::zeros_like(weight), residual};
  for (size_t i = 1; i < spec.terms.size(); ++i) {
    std::visit(
        [&](const auto& kind) {
          if constexpr (std::decay_t<decltype(kind)>::kCorrects) {
            auto fitted =
                fit_correction(kind, weight - all.spared, all.residual, objective, options);
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
// error falls. The best round is kept. Weight and objective are in code space.
std::unique_ptr<Representation> quantize_sum(const torch::Tensor& weight,
                                             const Objective& objective,
                                             const RepresentationSpec& spec,
                                             const QuantizeOptions& options,
                                             const std::shared_ptr<Rotation>& rotation,
                                             std::vector<StageReport>& stages) {
  if (spec.terms.size() == 1) {
    return std::make_unique<Representation>(
        quantize_coded(weight, objective, spec, options, stages),
        std::vector<std::unique_ptr<Term>>(), rotation);
  }
  const auto start = std::chrono::steady_clock::now();
  const Objective own = options.method == Method::kRtn ? Objective() : objective;
  std::unique_ptr<Representation> best;
  double least = 0;
  torch::Tensor target = weight;
  if (options.corrections_first || !options.kept_rows.empty()) {
    target = weight - fit_corrections(weight, weight, own, spec, options).spared;
  }
  for (int round = 1; round <= std::max(1, options.sum_rounds); ++round) {
    std::vector<StageReport> of_codes;  // another objective than the sum's
    auto coded = quantize_coded(target, objective, spec, options, of_codes);
    Corrections corrections =
        fit_corrections(weight, weight - coded->dequantize(), own, spec, options);
    const double error = relative_error(weight, weight - corrections.residual, own);
    if (best && !(error < least)) break;
    least = error;
    const torch::Tensor next = weight - corrections.spared;
    const bool settled = torch::equal(next, target);  // another round would find the same codes
    target = next;
    best =
        std::make_unique<Representation>(std::move(coded), std::move(corrections.terms), rotation);
    if (options.method != Method::kRtn) {  // it has another objective than the linear's
      stages.push_back(
          {concat("sum ", round), error,
           std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()});
    }
    if (settled) break;
  }
  return best;
}

}  // namespace

void check_cancelled(const CancelFlag* cancel) {
  if (cancel != nullptr && cancel->raised())
    throw Interrupted("quantization was stopped; the same command begins anew");
}

std::string output_factor_obstacle(const RepresentationSpec& spec, const QuantizeOptions& options) {
  for (const TermSpec& term : spec.terms) {
    const std::string obstacle =
        std::visit([&](const auto& kind) { return output_factor_obstacle(kind, options); }, term);
    if (!obstacle.empty()) return obstacle;
  }
  return "";
}

bool feeds_rows_back(const RepresentationSpec& spec) {
  return visit_coded(spec.terms.front(), [](const auto& kind) { return feeds_rows_back(kind); });
}

double relative_error(const torch::Tensor& weight, const torch::Tensor& quantized,
                      const Objective& objective) {
  const torch::Tensor target = objective.target(weight);
  const Objective centered = objective.centered();
  const double total = centered.error(target);
  const double error = centered.error(target - quantized);
  return total > 0 ? error / total : 0;
}

QuantizedLinear quantize_linear(const torch::Tensor& weight, const Objective& objective,
                                const RepresentationSpec& spec, const QuantizeOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto start = std::chrono::steady_clock::now();
  check_weight(weight, spec);
  objective.check(weight.size(0), weight.size(1));
  check_method(options.method, spec);
  Objective own(as_float(objective.hessian));
  own.output_factor = as_float(objective.output_factor);
  const auto target = as_float(options.method == Method::kRtn ? weight : objective.target(weight));
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };

  QuantizedLinear linear;
  if (spec.transform) {
    const auto rotation =
        std::make_shared<Rotation>(*resolved(spec, target.size(0), target.size(1)).transform,
                                   target.size(0), target.size(1), options.seed);
    linear.representation =
        quantize_sum(rotation->to_code_space(target), rotation->to_code_space(own), spec, options,
                     rotation, linear.stages);
  } else {
    linear.representation = quantize_sum(target, own, spec, options, nullptr, linear.stages);
  }
  linear.relative_error = relative_error(target, linear.representation->dequantize(), own);
  linear.seconds = elapsed();
  if (linear.stages.empty()) {
    linear.stages.push_back({method_name(options.method), linear.relative_error, linear.seconds});
  }
  return linear;
}

}  // namespace bitsmith
