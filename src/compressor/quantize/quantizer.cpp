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
  layer.representation = std::visit(
      [&](const auto& kind) {
        return options.method == Method::kRtn ? round_to_nearest(w, kind, options)
                                              : one_shot(w, h, kind, options, layer.stages);
      },
      spec);
  layer.relative_error = relative_error(w, layer.representation->dequantize(), h);
  layer.seconds = elapsed();
  if (layer.stages.empty()) {
    layer.stages.push_back({method_name(options.method), layer.relative_error, layer.seconds});
  }
  return layer;
}

}  // namespace bitsmith
