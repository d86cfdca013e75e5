#include "pipeline/compressor/layer.h"

#include "base/error.h"
#include "compressor/model/torch_threads.h"
#include "compressor/objective/hessian_sum.h"
#include "compressor/objective/layer_file.h"

namespace bitsmith {
namespace {

std::string description(const Objective& objective) {
  std::vector<const char*> parts;
  if (!objective.hessian.defined()) parts.push_back("no Hessian");
  if (objective.joins_rows()) {
    parts.push_back("full output factor");
  } else if (objective.output_factor.defined()) {
    parts.push_back("weights of rows");
  }
  if (objective.shift.defined()) parts.push_back("cross term");
  std::string text;
  for (const char* part : parts) text += concat(text.empty() ? "" : ", ", part);
  return text;
}

}  // namespace

LayerTrials try_layer(const LayerJob& job, const RunContext& context) {
  set_torch_threads(context.threads);
  LayerFile layer = read_layer_file(job.file);
  const torch::Tensor& weight = layer.weight;
  Objective& objective = layer.objective;
  LayerTrials all{weight.size(0), weight.size(1), {}, {}};
  for (const RepresentationSpec& spec : job.representations) {
    check_quantizable(spec, all.out_features, all.in_features);
    if (job.method) check_method(*job.method, spec);
  }
  QuantizeOptions options = job.options;
  options.seed = context.seed;
  options.cancel = context.cancel;
  if (layer.cross.defined() && job.cross_term > 0) {
    objective.shift = cross_term_shift(
        weight, input_drift(objective.hessian, layer.cross, options.damping), job.cross_term);
  }
  all.objective = description(objective);
  for (const RepresentationSpec& spec : job.representations) {
    options.method = job.method.value_or(default_method(spec));
    QuantizedLinear quantized = quantize_linear(weight, objective, spec, options);
    const double bits = quantized.representation->bits() / static_cast<double>(weight.numel());
    all.trials.push_back({spec, options.method, bits, quantized.relative_error, quantized.seconds,
                          std::move(quantized.stages)});
  }
  return all;
}

}  // namespace bitsmith
