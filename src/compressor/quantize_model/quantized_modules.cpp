#include "compressor/quantize_model/quantized_modules.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "compressor/quantize_model/work_tensors.h"

namespace bitsmith {
namespace {

std::span<const std::byte> half_bytes(const torch::Tensor& values) {
  BITSMITH_CHECK(values.scalar_type() == torch::kHalf && values.is_contiguous());
  return {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()};
}

}  // namespace

OrderedJson to_json(const LinearSummary& linear) {
  OrderedJson json = {{"module", linear.module},
                      {"representation", linear.representation},
                      {"method", linear.method},
                      {"relative_error", linear.relative_error},
                      {"bits", linear.bits}};
  if (linear.expert_tokens) json["expert_tokens"] = *linear.expert_tokens;
  if (linear.cross_term) json["cross_term"] = *linear.cross_term;
  if (linear.shrinkage) json["shrinkage"] = *linear.shrinkage;
  if (const auto& factor = linear.output_factor)
    json["output_factor"] = {{"used", factor->used},
                             {"held_out_cost", factor->held_out_cost},
                             {"shrinkage", factor->shrinkage}};
  return json;
}

LinearSummary linear_from_json(const Json& json, const std::string& source) {
  LinearSummary linear = {json_get<std::string>(json, "module", source),
                          json_get<std::string>(json, "representation", source),
                          json_get<std::string>(json, "method", source),
                          json_get<double>(json, "relative_error", source),
                          json_get<double>(json, "bits", source),
                          json_get_or<double>(json, "seconds", 0, source),
                          {},
                          {},
                          {},
                          {}};
  if (json.contains("expert_tokens"))
    linear.expert_tokens = json_get<int64_t>(json, "expert_tokens", source);
  if (json.contains("cross_term")) linear.cross_term = json_get<double>(json, "cross_term", source);
  if (json.contains("shrinkage")) linear.shrinkage = json_get<double>(json, "shrinkage", source);
  if (json.contains("output_factor")) {
    const Json factor = json_get<Json>(json, "output_factor", source);
    linear.output_factor = OutputFactorSummary{json_get<std::string>(factor, "used", source),
                                               json_get<double>(factor, "held_out_cost", source),
                                               json_get<double>(factor, "shrinkage", source)};
  }
  return linear;
}

void write_modules(const std::filesystem::path& path, const QuantizedModules& modules,
                   const std::string& request_hash) {
  std::vector<TensorView> tensors;
  for (const auto& [module, matrix] : modules.matrices) {
    for (const TensorView& part : named_parts(matrix, module)) tensors.push_back(part);
  }
  for (const auto& [name, values] : modules.dense) {
    tensors.push_back({name, DType::F16, values.sizes().vec(), half_bytes(values)});
  }
  OrderedJson linears = OrderedJson::array();
  for (const LinearSummary& linear : modules.linears) {
    linears.push_back(to_json(linear));
    linears.back()["seconds"] = linear.seconds;
  }
  write_work_tensors(path, tensors,
                     {{"layers", linears.dump()},
                      {"finetune", modules.finetune.dump()},
                      {"finetune_seconds", std::to_string(modules.finetune_seconds)}},
                     request_hash);
}

QuantizedModules read_modules(const std::filesystem::path& path,
                              const std::vector<LinearPlan>& expected,
                              const std::map<std::string, RepresentationSpec>& specs,
                              const std::string& request_hash) {
  const auto file = std::make_shared<const SafetensorsFile>(open_work_tensors(path, request_hash));
  const std::string source = path.string();
  const auto value = [&](const char* key) { return work_value(*file, key, path); };
  QuantizedModules modules;
  for (const LinearPlan& shape : expected) {
    const int64_t out = shape.out_features, in = shape.in_features;
    QuantizedTensor tensor{resolved(specs.at(shape.name), out, in), out, in, {}, file};
    for (const PartLayout& layout : part_layout(tensor.spec, out, in, shape.name)) {
      const TensorView* view = file->find(shape.name + "." + layout.name);
      if (!view)
        throw Error(concat(source, ": tensor '", shape.name, ".", layout.name, "' is missing"));
      tensor.parts.push_back(*view);
      tensor.parts.back().name = layout.name;
    }
    verify(tensor, source + ": " + shape.name);
    modules.matrices[shape.name] = tensor;
  }
  // What belongs to no matrix is dense.
  for (const TensorView& tensor : file->tensors) {
    const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
    const bool of_matrix = modules.matrices.contains(module) && !tensor.name.ends_with(".bias");
    if (of_matrix) continue;
    if (tensor.dtype != DType::F16)
      throw Error(concat(source, ": tensor '", excerpt(tensor.name), "' is not of this work"));
    auto values = torch::empty(tensor.shape, torch::kHalf);
    std::copy(tensor.bytes.begin(), tensor.bytes.end(), static_cast<std::byte*>(values.data_ptr()));
    modules.dense[tensor.name] = values;
  }
  modules.finetune = parse_ordered_json(value("finetune"), source);
  modules.finetune_seconds = std::strtod(value("finetune_seconds").c_str(), nullptr);
  for (const Json& linear : parse_json(value("layers"), source))
    modules.linears.push_back(linear_from_json(linear, source));
  return modules;
}

}  // namespace bitsmith
