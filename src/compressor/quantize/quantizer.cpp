#include "compressor/quantize/quantizer.h"

#include <chrono>

#include "base/error.h"
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

}  // namespace

void check_quantizable(const RepresentationSpec& spec, int64_t out_features, int64_t in_features) {
  part_layout(spec, out_features, in_features);
  const auto* additive = std::get_if<AdditiveSpec>(&spec);
  if (!additive) return;
  const int64_t vectors = int64_t{1} << additive->nbits_per_codebook;
  const int64_t groups = out_features * in_features / additive->in_group_size;
  if (vectors > groups) {
    throw UsageError(concat(vectors, " vectors a codebook for the ", groups, " groups of ",
                            out_features, " x ", in_features,
                            " weights; use fewer bits a codebook, or leave this matrix out"));
  }
}

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
  parse_method(method_name(options.method), spec);  // throws when the two do not fit
  const auto w = weight.to(torch::kFloat).contiguous();
  const auto h = hessian.defined() ? hessian.to(torch::kFloat).contiguous() : hessian;
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };

  QuantizedLayer layer;
  if (const auto* uniform = std::get_if<UniformSpec>(&spec)) {
    layer.representation =
        options.method == Method::kRtn ? rtn(w, *uniform) : gptq(w, h, *uniform, options);
  } else if (const auto* grouped = std::get_if<GroupedSpec>(&spec)) {
    if (options.method == Method::kGptvq) {
      layer.representation = gptvq(w, h, *grouped, options, layer.stages);
    } else {
      QuantizeOptions start_only = options;
      start_only.feedback_rounds = 0;
      start_only.codebook_update = false;
      std::vector<StageReport> without_hessian;  // another objective than the layer's
      layer.representation = gptvq(w, {}, *grouped, start_only, without_hessian);
    }
  } else {
    const auto& additive = std::get<AdditiveSpec>(spec);
    if (options.method == Method::kAqlm) {
      layer.representation = aqlm(w, h, additive, options, layer.stages);
    } else {
      QuantizeOptions start_only = options;
      start_only.max_rounds = 0;
      std::vector<StageReport> without_hessian;  // another objective than the layer's
      layer.representation = aqlm(w, {}, additive, start_only, without_hessian);
    }
  }
  layer.relative_error = relative_error(w, layer.representation->dequantize(), h);
  layer.seconds = elapsed();
  if (layer.stages.empty()) {
    layer.stages.push_back({method_name(options.method), layer.relative_error, layer.seconds});
  }
  return layer;
}

}  // namespace bitsmith
