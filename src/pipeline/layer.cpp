#include "pipeline/layer.h"

#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "compressor/model/torch_threads.h"

namespace bitsmith {
namespace {

// Float32; undefined where there is none.
torch::Tensor read_values(const SafetensorsFile& layer, const std::string& name) {
  const TensorView* view = layer.find(name);
  if (!view) return {};
  if (!holds_floats(view->dtype)) {
    throw Error(concat("'", name, "' has the data type ", dtype_name(view->dtype),
                       ", expected a floating-point type"));
  }
  auto values = torch::empty(view->shape, torch::kFloat);
  decode_to_float(view->dtype, view->bytes,
                  std::span(values.mutable_data_ptr<float>(), static_cast<size_t>(values.numel())));
  return values;
}

}  // namespace

LayerTrials try_layer(const LayerJob& job, const RunContext& context) {
  set_torch_threads(context.threads);
  const std::string source = job.file.string();
  torch::Tensor weight, hessian;
  {
    const SafetensorsFile layer = open_safetensors(job.file);  // its pages are given back
    weight = read_values(layer, "weight");
    hessian = read_values(layer, "hessian");
  }
  if (!weight.defined()) throw Error(concat(source, ": there is no tensor 'weight'"));
  if (weight.dim() != 2) throw Error(concat(source, ": 'weight' is not a matrix"));
  LayerTrials all{weight.size(0), weight.size(1), hessian.defined(), {}};
  for (const RepresentationSpec& spec : job.representations) {
    check_quantizable(spec, all.out_features, all.in_features);
    if (job.method) check_method(*job.method, spec);
  }
  QuantizeOptions options = job.options;
  options.seed = context.seed;
  options.cancel = context.cancel;
  for (const RepresentationSpec& spec : job.representations) {
    options.method = job.method.value_or(default_method(spec));
    QuantizedLayer layer = quantize_layer(weight, hessian, spec, options);
    const double bits = layer.representation->bits() / static_cast<double>(weight.numel());
    all.trials.push_back(
        {spec, options.method, bits, layer.relative_error, layer.seconds, std::move(layer.stages)});
  }
  return all;
}

}  // namespace bitsmith
