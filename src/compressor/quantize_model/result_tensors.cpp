#include "compressor/quantize_model/result_tensors.h"

#include "checkpoint/safetensors.h"
#include "compressor/quantize_model/dense_tensor_source.h"

namespace bitsmith {

std::vector<TensorSource> result_tensors(
    const ModelPlan& model,
    const std::function<std::optional<std::vector<TensorSource>>(const std::string& module)>& parts,
    const std::function<TensorSource(const std::string& name)>& dense) {
  std::vector<TensorSource> tensors;
  for (const PlannedTensor& planned : planned_tensors(model)) {
    std::optional<std::vector<TensorSource>> own;
    if (planned.name.ends_with(".weight"))
      own = parts(planned.name.substr(0, planned.name.rfind('.')));
    if (!own) {
      tensors.push_back(dense(planned.name));
      continue;
    }
    tensors.insert(tensors.end(), own->begin(), own->end());
  }
  return tensors;
}

std::vector<TensorSource> ResultSizes::tensors(const QuantizationPlan& plan) const {
  const auto parts = [&](const std::string& module) -> std::optional<std::vector<TensorSource>> {
    const PlannedMatrix* matrix = plan.find(module);
    if (!matrix) return std::nullopt;
    std::vector<TensorSource> sources;
    for (const PartLayout& part :
         part_layout(matrix->spec, matrix->shape.out_features, matrix->shape.in_features, module))
      sources.emplace_back(module + "." + part.name, part.dtype, part.shape,
                           TensorSource::Writer());
    return sources;
  };
  return result_tensors(files_.plan(), parts, [&](const std::string& name) {
    auto found = dense_.find(name);
    if (found == dense_.end())
      found = dense_.emplace(name, dense_tensor_source(files_.checkpoint(), name)).first;
    return found->second;
  });
}

uint64_t ResultSizes::file_bytes(const QuantizationPlan& plan) const {
  return sharded_safetensors_bytes(tensors(plan));
}

ModelSize ResultSizes::model_size(const QuantizationPlan& plan) const {
  return bitsmith::model_size(files_.plan(), tensors(plan));
}

}  // namespace bitsmith
