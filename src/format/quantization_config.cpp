#include "format/quantization_config.h"

#include <algorithm>
#include <set>

#include "base/error.h"

namespace bitsmith {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens";
constexpr const char* kHead = "lm_head";
constexpr int kVersion = 1;

bool is_block_linear(const std::string& module) { return module != kEmbedding && module != kHead; }

int64_t bounded(const Json& config, const char* key, int64_t low, int64_t high,
                const std::string& source) {
  const auto value = json_get<int64_t>(config, key, source);
  if (value < low || value > high) {
    throw Error(concat(source, ": ", key, " is ", value, "; Bitsmith reads ", low, " to ", high));
  }
  return value;
}

SpecMap parse_hf_aqlm(const Json& quantization, const std::vector<LinearShape>& matrices,
                      const std::string& source) {
  AdditiveSpec spec;
  spec.num_codebooks = static_cast<int>(bounded(quantization, "num_codebooks", 1, 8, source));
  spec.nbits_per_codebook =
      static_cast<int>(bounded(quantization, "nbits_per_codebook", 1, 16, source));
  spec.in_group_size = bounded(quantization, "in_group_size", 1, 64, source);
  bounded(quantization, "out_group_size", 1, 1, source);
  const auto dense = json_get_or<std::set<std::string>>(
      quantization, "linear_weights_not_to_quantize", {}, source);
  SpecMap specs;
  for (const LinearShape& matrix : matrices) {
    const bool listed = dense.contains(matrix.name) || dense.contains(matrix.name + ".weight");
    if (matrix.name != kEmbedding && !listed) specs[matrix.name] = spec;
  }
  return specs;
}

SpecMap parse_bitsmith(const Json& quantization, const std::vector<LinearShape>& matrices,
                       const std::string& source) {
  const auto version = json_get<int64_t>(quantization, "version", source);
  if (version != kVersion) {
    throw Error(concat(source, ": the quantized format has version ", version,
                       "; this Bitsmith reads version ", kVersion));
  }
  std::set<std::string> known;
  for (const LinearShape& matrix : matrices) known.insert(matrix.name);
  SpecMap specs;
  using Modules = std::map<std::string, std::string>;
  for (const auto& [module, text] : json_get<Modules>(quantization, "modules", source)) {
    if (!known.contains(module)) {
      throw Error(
          concat(source, ": the model has no matrix '", excerpt(module), "' to be quantized"));
    }
    try {
      specs[module] = parse_representation(text);
    } catch (const UsageError& error) {
      throw Error(concat(source, ": ", module, ": ", error.what()));
    }
  }
  return specs;
}

}  // namespace

std::vector<LinearShape> quantizable_matrices(const ModelConfig& config) {
  std::vector<LinearShape> matrices = {{kEmbedding, config.vocab_size, config.hidden_size, false}};
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const std::vector<LinearShape> block = block_linears(config, layer);
    matrices.insert(matrices.end(), block.begin(), block.end());
  }
  if (!config.tie_word_embeddings) {
    matrices.push_back({kHead, config.vocab_size, config.hidden_size, false});
  }
  return matrices;
}

SpecMap parse_quantization_config(const Json& config_json, const ModelConfig& config,
                                  const std::string& source) {
  const std::string where = source + ": quantization_config";
  const Json quantization = json_get_or<Json>(config_json, "quantization_config", nullptr, source);
  if (quantization.is_null()) return {};
  const auto method = json_get<std::string>(quantization, "quant_method", where);
  const std::vector<LinearShape> matrices = quantizable_matrices(config);
  SpecMap specs;
  if (method == "aqlm") {
    specs = parse_hf_aqlm(quantization, matrices, where);
  } else if (method == "bitsmith") {
    specs = parse_bitsmith(quantization, matrices, where);
  } else {
    throw Error(concat(where, ": the method '", excerpt(method),
                       "' is not supported; Bitsmith reads 'bitsmith' and 'aqlm'"));
  }
  for (const auto& [module, spec] : specs) {
    if (!is_block_linear(module) && !std::holds_alternative<UniformSpec>(spec)) {
      throw Error(concat(where, ": ", module, " is ", to_string(spec),
                         "; embeddings and heads may only be uniform (intBgG)"));
    }
  }
  return specs;
}

bool is_hf_aqlm(const Json& config_json) {
  const auto found = config_json.find("quantization_config");
  return found != config_json.end() && found->is_object() &&
         found->value("quant_method", Json()) == "aqlm";
}

bool fits_hf_aqlm(const SpecMap& specs) {
  if (specs.empty()) return false;
  const auto* first = std::get_if<AdditiveSpec>(&specs.begin()->second);
  // Other numbers of bits have codes as wide as these there, and group scales have no place.
  if (!first || (first->nbits_per_codebook != 8 && first->nbits_per_codebook != 16)) return false;
  if (first->scale_bits > 0) return false;
  return std::all_of(specs.begin(), specs.end(), [&](const auto& entry) {
    return is_block_linear(entry.first) && entry.second == specs.begin()->second;
  });
}

OrderedJson make_hf_aqlm_config(const SpecMap& specs, const ModelConfig& config,
                                const std::vector<std::string>& dense_tensors) {
  const auto& spec = std::get<AdditiveSpec>(specs.begin()->second);
  std::set<std::string> dense(dense_tensors.begin(), dense_tensors.end());
  // transformers 4 looks for the weight's name, transformers 5 for the module's; lm_head is an
  // nn.Linear also where it is tied and has no tensor of its own.
  std::set<std::string> linears = {kHead};
  for (const LinearShape& matrix : quantizable_matrices(config)) {
    if (matrix.name != kEmbedding && !specs.contains(matrix.name)) linears.insert(matrix.name);
  }
  for (const std::string& linear : linears) {
    dense.insert(linear);
    dense.insert(linear + ".weight");
  }
  return {{"quant_method", "aqlm"},
          {"nbits_per_codebook", spec.nbits_per_codebook},
          {"num_codebooks", spec.num_codebooks},
          {"out_group_size", 1},
          {"in_group_size", spec.in_group_size},
          {"linear_weights_not_to_quantize", dense}};
}

OrderedJson make_bitsmith_config(const SpecMap& specs) {
  OrderedJson modules = OrderedJson::object();
  for (const auto& [module, spec] : specs) modules[module] = to_string(spec);
  return {{"quant_method", "bitsmith"}, {"version", kVersion}, {"modules", modules}};
}

}  // namespace bitsmith
