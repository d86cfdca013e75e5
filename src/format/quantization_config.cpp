#include "format/quantization_config.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "format/spec_fields.h"

namespace bitsmith {
namespace {

constexpr int kVersion = 2;

// The matrices of nn.Linear modules: all but the embedding, and the head also where it is tied and
// has no tensor of its own.
std::vector<LinearPlan> linears(const ModelPlan& plan, bool with_tied_head) {
  std::vector<LinearPlan> matrices = quantizable_matrices(plan);
  matrices.erase(matrices.begin());
  if (with_tied_head && plan.tied) matrices.push_back(plan.head);
  return matrices;
}

using Matrices = std::map<std::string, LinearPlan>;

// `spec` with every size for the matrix of this name.
RepresentationSpec resolved_for(const Matrices& matrices, const std::string& module,
                                const RepresentationSpec& spec, const std::string& source) {
  const auto found = matrices.find(module);
  if (found == matrices.end()) {
    throw Error(
        concat(source, ": the model has no matrix '", excerpt(module), "' to be quantized"));
  }
  try {
    return resolved(spec, found->second.out_features, found->second.in_features, module);
  } catch (const UsageError& error) {
    throw Error(concat(source, ": ", error.what()));
  }
}

// {"modules": {MODULE: TEXT}}. Sizes that a text leaves out are those of version 1's rules, which
// are those of today; a file that followed other rules has parts of other shapes and is refused.
SpecMap parse_version_1(const Json& quantization, const Matrices& matrices,
                        const std::string& source) {
  SpecMap specs;
  using Modules = std::map<std::string, std::string>;
  for (const auto& [module, text] : json_get<Modules>(quantization, "modules", source)) {
    try {
      specs[module] = resolved_for(matrices, module, parse_representation(text), source);
    } catch (const UsageError& error) {
      throw Error(concat(source, ": ", module, ": ", error.what()));
    }
  }
  return specs;
}

// {"representations": [{"transform": FIELDS, "terms": [FIELDS], "modules": [MODULE, ...]}, ...]}.
SpecMap parse_version_2(const Json& quantization, const Matrices& matrices,
                        const std::string& source) {
  SpecMap specs;
  for (const Json& entry : json_get<std::vector<Json>>(quantization, "representations", source)) {
    check_spec_keys(entry, {"transform", "terms", "modules"}, source);
    const RepresentationSpec spec = spec_from_json(entry, source);
    for (const auto& module : json_get<std::vector<std::string>>(entry, "modules", source)) {
      if (!specs.insert({module, resolved_for(matrices, module, spec, source)}).second) {
        throw Error(concat(source, ": '", excerpt(module), "' has two representations"));
      }
    }
  }
  return specs;
}

SpecMap parse_bitsmith(const Json& quantization, const ModelPlan& plan, const std::string& source) {
  Matrices matrices;
  for (const LinearPlan& matrix : quantizable_matrices(plan)) matrices[matrix.name] = matrix;
  const auto version = json_get<int64_t>(quantization, "version", source);
  if (version == 1) return parse_version_1(quantization, matrices, source);
  if (version == kVersion) return parse_version_2(quantization, matrices, source);
  throw Error(concat(source, ": the quantized format has version ", version,
                     "; this Bitsmith reads versions 1 to ", kVersion));
}

}  // namespace

SpecMap parse_quantization_config(const Json& config_json, const ModelPlan& plan,
                                  const std::string& source) {
  const std::string where = source + ": quantization_config";
  const Json quantization = json_get_or<Json>(config_json, "quantization_config", nullptr, source);
  if (quantization.is_null()) return {};
  const auto method = json_get<std::string>(quantization, "quant_method", where);
  SpecMap specs;
  if (is_hf_aqlm(config_json)) {
    specs = parse_hf_aqlm(quantization, linears(plan, /*with_tied_head=*/false), where);
  } else if (method == "bitsmith") {
    specs = parse_bitsmith(quantization, plan, where);
  } else {
    throw Error(concat(where, ": the method '", excerpt(method),
                       "' is not supported; Bitsmith reads 'bitsmith' and 'aqlm'"));
  }
  for (const auto& [module, spec] : specs) {
    if (is_outer_matrix(plan, module) && mixes_rows(spec)) {
      throw Error(concat(where, ": ", module, " is ", to_string(spec),
                         "; embeddings and heads are looked up row by row, so that their outputs "
                         "cannot be rotated"));
    }
  }
  return specs;
}

std::map<std::string, int64_t> representation_counts(const SpecMap& specs, const ModelPlan& plan) {
  std::map<std::string, int64_t> counts;
  for (const LinearPlan& matrix : quantizable_matrices(plan)) {
    const auto found = specs.find(matrix.name);
    if (found == specs.end()) continue;
    ++counts[short_name(found->second, matrix.out_features, matrix.in_features)];
  }
  return counts;
}

bool fits_hugging_face(const SpecMap& specs, const ModelPlan& plan) {
  // transformers puts its quantized modules in place of nn.Linear alone: not of GPT-2's Conv1D, nor
  // of experts, whose matrices version 5 stacks in parameters.
  for (const BlockPlan& block : plan.blocks)
    if (block.experts) return false;
  for (const LinearPlan& matrix : quantizable_matrices(plan)) {
    const bool linear =
        !is_outer_matrix(plan, matrix.name) && matrix.stored != StoredAs::kTransposed;
    if (!linear && specs.contains(matrix.name)) return false;
  }
  return fits_hf_aqlm(specs);
}

OrderedJson make_hugging_face_config(const SpecMap& specs, const ModelPlan& plan,
                                     const std::vector<std::string>& dense_tensors) {
  std::vector<LinearPlan> modules = linears(plan, /*with_tied_head=*/true);
  // transformers 5 looks for this name, whatever the files call the head (GPT-NeoX: embed_out).
  modules.push_back(plan.head);
  modules.back().name = "lm_head";
  return make_hf_aqlm_config(specs, modules, dense_tensors);
}

OrderedJson make_bitsmith_config(const SpecMap& specs, const ModelPlan& plan) {
  std::vector<std::pair<RepresentationSpec, std::vector<std::string>>> entries;
  for (const LinearPlan& matrix : quantizable_matrices(plan)) {
    const auto found = specs.find(matrix.name);
    if (found == specs.end()) continue;
    const RepresentationSpec spec =
        resolved(found->second, matrix.out_features, matrix.in_features, matrix.name);
    auto entry = std::find_if(entries.begin(), entries.end(),
                              [&](const auto& e) { return e.first == spec; });
    if (entry == entries.end()) entry = entries.insert(entry, {spec, {}});
    entry->second.push_back(matrix.name);
  }
  OrderedJson representations = OrderedJson::array();
  for (const auto& [spec, modules] : entries) {
    representations.push_back(spec_to_json(spec));
    representations.back()["modules"] = modules;
  }
  return {
      {"quant_method", "bitsmith"}, {"version", kVersion}, {"representations", representations}};
}

}  // namespace bitsmith
