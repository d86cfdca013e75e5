#include "checkpoint/model_config.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace bitsmith {
namespace {

constexpr int64_t kMaxSize = int64_t{1} << 24;  // keeps every product of two sizes in int64
constexpr int64_t kMaxLayers = 10'000;

// What transformers assumes for keys that config.json leaves out.
struct FamilyDefaults {
  const char* model_type;
  Architecture architecture;
  int64_t num_key_value_heads;  // 0: as many as attention heads
  int64_t head_dim;             // 0: hidden_size / num_attention_heads
  int64_t max_position_embeddings;
  int64_t bos_token_id, eos_token_id;  // -1: none
};
constexpr FamilyDefaults kFamilies[] = {
    {"llama", Architecture::kLlama, 0, 0, 2048, 1, 2},
    {"qwen2", Architecture::kQwen2, 32, 0, 32768, -1, -1},
    {"qwen3", Architecture::kQwen3, 32, 128, 32768, -1, -1},
    {"mistral", Architecture::kMistral, 8, 0, 131072, 1, 2},
};

const FamilyDefaults& family_of(const std::string& model_type, const std::string& source) {
  for (const FamilyDefaults& family : kFamilies) {
    if (model_type == family.model_type) return family;
  }
  throw Error(concat(source, ": the architecture '", excerpt(model_type),
                     "' is not supported; Bitsmith knows llama (Llama 1, 2, 3), qwen2 (Qwen2, "
                     "Qwen2.5), qwen3 (Qwen3) and mistral (Mistral)"));
}

int64_t size_in(const Json& config, const char* key, int64_t fallback, int64_t max,
                const std::string& source) {
  const int64_t value = fallback > 0 ? json_get_or<int64_t>(config, key, fallback, source)
                                     : json_get<int64_t>(config, key, source);
  if (value < 1 || value > max) {
    throw Error(concat(source, ": '", key, "' is ", value, ", expected 1 to ", max));
  }
  return value;
}

double positive_in(const Json& object, const char* key, const std::string& source) {
  const double value = json_get<double>(object, key, source);
  if (!(value > 0) || !std::isfinite(value)) {
    throw Error(concat(source, ": '", key, "' is ", value, ", expected a positive number"));
  }
  return value;
}

// transformers 5 keeps everything in "rope_parameters"; older files have "rope_theta" and, with
// scaling, "rope_scaling", where the type is under "rope_type" or, older still, "type".
void parse_rope(const Json& config, ModelConfig& result, const std::string& source) {
  Json rope = json_get_or<Json>(config, "rope_scaling", Json::object(), source);
  if (rope.empty()) rope = json_get_or<Json>(config, "rope_parameters", Json::object(), source);
  if (!rope.is_object()) {
    throw Error(concat(source, ": the rope settings are not an object: ", json_excerpt(rope)));
  }
  if (rope.contains("full_attention") || rope.contains("sliding_attention")) {
    throw Error(source + ": rope settings that differ between layers are not supported");
  }
  for (const Json* place : {static_cast<const Json*>(&rope), &config}) {
    if (json_get_or<double>(*place, "partial_rotary_factor", 1.0, source) != 1.0) {
      throw Error(source + ": a partial_rotary_factor other than 1 is not supported");
    }
  }
  if (rope.contains("rope_theta")) {
    result.rope_theta = positive_in(rope, "rope_theta", source);
  } else if (config.contains("rope_theta")) {
    result.rope_theta = positive_in(config, "rope_theta", source);
  }

  const std::string fallback = json_get_or<std::string>(rope, "type", "default", source);
  const std::string type = json_get_or<std::string>(rope, "rope_type", fallback, source);
  RopeScaling& scaling = result.rope_scaling;
  if (type == "default") return;
  if (type == "linear") {
    scaling.type = RopeScaling::Type::kLinear;
  } else if (type == "dynamic") {
    scaling.type = RopeScaling::Type::kDynamic;
    scaling.original_max_position_embeddings = result.max_position_embeddings;
    if (result.head_dim <= 2) {
      throw Error(source + ": dynamic rope scaling needs a head_dim above 2");
    }
  } else if (type == "llama3") {
    scaling.type = RopeScaling::Type::kLlama3;
    scaling.low_freq_factor = positive_in(rope, "low_freq_factor", source);
    scaling.high_freq_factor = positive_in(rope, "high_freq_factor", source);
    if (scaling.high_freq_factor <= scaling.low_freq_factor) {
      throw Error(source + ": llama3 rope scaling needs high_freq_factor > low_freq_factor");
    }
    scaling.original_max_position_embeddings =
        size_in(rope, "original_max_position_embeddings", result.max_position_embeddings,
                int64_t{1} << 40, source);
  } else {
    throw Error(concat(source, ": the rope type '", excerpt(type),
                       "' is not supported; Bitsmith knows default, linear, dynamic and llama3"));
  }
  scaling.factor = positive_in(rope, "factor", source);
}

// Which layers see only a window, as in transformers 5: layer_types says it layer by layer. Without
// it Mistral's all do, Qwen's from max_window_layers on; Qwen's also need use_sliding_window.
std::vector<int64_t> sliding_windows(const Json& config, const ModelConfig& model,
                                     const std::string& source) {
  std::vector<int64_t> windows(static_cast<size_t>(model.num_hidden_layers), 0);
  const bool mistral = model.architecture == Architecture::kMistral;
  const bool qwen = !mistral && model.architecture != Architecture::kLlama;
  int64_t window = 0;
  const bool none = config.contains("sliding_window") && config.at("sliding_window").is_null();
  if (!none &&
      (mistral || (qwen && json_get_or<bool>(config, "use_sliding_window", false, source)))) {
    window = size_in(config, "sliding_window", 4096, int64_t{1} << 40, source);
  }
  const auto types = json_get_or<std::vector<std::string>>(config, "layer_types",
                                                           std::vector<std::string>{}, source);
  if (types.empty()) {
    const int64_t first = qwen ? json_get_or<int64_t>(config, "max_window_layers", 28, source) : 0;
    for (int64_t i = std::max<int64_t>(first, 0); i < model.num_hidden_layers; ++i) {
      windows[static_cast<size_t>(i)] = window;
    }
    return windows;
  }
  if (types.size() != windows.size()) {
    throw Error(concat(source, ": 'layer_types' has ", types.size(), " entries for ",
                       windows.size(), " layers"));
  }
  for (size_t i = 0; i < types.size(); ++i) {
    if (types[i] == "full_attention") continue;
    if (types[i] != "sliding_attention" || window == 0) {
      const bool needs_window = types[i] == "sliding_attention" && (mistral || qwen);
      throw Error(concat(source, ": the layer type '", excerpt(types[i]), "' of layer ", i,
                         needs_window ? " needs a sliding_window" : " is not supported"));
    }
    windows[i] = window;
  }
  return windows;
}

}  // namespace

ModelConfig parse_model_config(const Json& config, const std::string& source) {
  if (!config.is_object()) throw Error(source + ": not a JSON object");
  ModelConfig result;
  result.model_type = json_get<std::string>(config, "model_type", source);
  const FamilyDefaults& family = family_of(result.model_type, source);
  result.architecture = family.architecture;
  result.vocab_size = size_in(config, "vocab_size", 0, kMaxSize, source);
  result.hidden_size = size_in(config, "hidden_size", 0, kMaxSize, source);
  result.intermediate_size = size_in(config, "intermediate_size", 0, kMaxSize, source);
  result.num_hidden_layers = size_in(config, "num_hidden_layers", 0, kMaxLayers, source);
  const int64_t heads = size_in(config, "num_attention_heads", 0, kMaxSize, source);
  const bool null_kv_heads =
      config.contains("num_key_value_heads") && config.at("num_key_value_heads").is_null();
  const int64_t kv_fallback =
      family.num_key_value_heads > 0 && !null_kv_heads ? family.num_key_value_heads : heads;
  const int64_t kv_heads = size_in(config, "num_key_value_heads", kv_fallback, kMaxSize, source);
  if (heads % kv_heads != 0) {
    throw Error(concat(source, ": ", heads, " attention heads cannot share ", kv_heads,
                       " key-value heads evenly"));
  }
  result.num_attention_heads = heads;
  result.num_key_value_heads = kv_heads;
  if (family.head_dim == 0 && json_get_or<int64_t>(config, "head_dim", 0, source) == 0 &&
      result.hidden_size % heads != 0) {
    throw Error(concat(source, ": hidden_size ", result.hidden_size, " is not a multiple of the ",
                       heads, " attention heads"));
  }
  const int64_t head_fallback = family.head_dim > 0 ? family.head_dim : result.hidden_size / heads;
  result.head_dim =
      size_in(config, "head_dim", std::max<int64_t>(head_fallback, 1), kMaxSize, source);
  if (result.head_dim % 2 != 0 || result.q_size() > kMaxSize) {
    throw Error(concat(source, ": head_dim ", result.head_dim, " with ", heads,
                       " heads is not possible: it must be even, and heads x head_dim at most ",
                       kMaxSize));
  }
  result.max_position_embeddings = size_in(
      config, "max_position_embeddings", family.max_position_embeddings, int64_t{1} << 40, source);
  if (config.contains("rms_norm_eps")) {
    result.rms_norm_eps = positive_in(config, "rms_norm_eps", source);
  }
  const auto activation = json_get_or<std::string>(config, "hidden_act", "silu", source);
  if (activation != "silu" && activation != "swish") {
    throw Error(concat(source, ": the activation '", excerpt(activation),
                       "' is not supported; Bitsmith knows silu"));
  }
  parse_rope(config, result, source);
  result.tie_word_embeddings = json_get_or<bool>(config, "tie_word_embeddings", false, source);
  result.sliding_window = sliding_windows(config, result, source);

  const bool attention_bias = json_get_or<bool>(config, "attention_bias", false, source);
  switch (result.architecture) {
    case Architecture::kLlama:
      result.mlp_bias = json_get_or<bool>(config, "mlp_bias", false, source);
      result.qkv_bias = result.output_bias = attention_bias;
      break;
    case Architecture::kQwen2:
      result.qkv_bias = true;
      break;
    case Architecture::kQwen3:
      result.qk_norm = true;
      result.qkv_bias = result.output_bias = attention_bias;
      break;
    case Architecture::kMistral:
      break;
  }

  result.bos_token_id = config.contains("bos_token_id")
                            ? json_get_or<int64_t>(config, "bos_token_id", -1, source)
                            : family.bos_token_id;
  result.eos_token_ids = token_ids(config, "eos_token_id", source);
  if (!config.contains("eos_token_id") && family.eos_token_id >= 0) {
    result.eos_token_ids = {family.eos_token_id};
  }
  return result;
}

std::vector<int64_t> token_ids(const Json& config, const std::string& key,
                               const std::string& source) {
  const Json value = json_get_or<Json>(config, key, Json::array(), source);
  if (value.is_array()) return json_get_or<std::vector<int64_t>>(config, key, {}, source);
  return {json_get<int64_t>(config, key, source)};
}

std::vector<LinearShape> block_linears(const ModelConfig& config, int64_t block_index) {
  const std::string prefix = concat("model.layers.", block_index, ".");
  const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp.";
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  return {
      {attention + "q_proj", config.q_size(), hidden, config.qkv_bias},
      {attention + "k_proj", config.kv_size(), hidden, config.qkv_bias},
      {attention + "v_proj", config.kv_size(), hidden, config.qkv_bias},
      {attention + "o_proj", hidden, config.q_size(), config.output_bias},
      {mlp + "gate_proj", inner, hidden, config.mlp_bias},
      {mlp + "up_proj", inner, hidden, config.mlp_bias},
      {mlp + "down_proj", hidden, inner, config.mlp_bias},
  };
}

std::vector<std::pair<std::string, std::vector<int64_t>>> expected_tensors(
    const ModelConfig& config) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  const int64_t hidden = config.hidden_size;
  tensors.push_back({"model.embed_tokens.weight", {config.vocab_size, hidden}});
  for (int64_t block_index = 0; block_index < config.num_hidden_layers; ++block_index) {
    const std::string prefix = concat("model.layers.", block_index, ".");
    tensors.push_back({prefix + "input_layernorm.weight", {hidden}});
    for (const LinearShape& linear : block_linears(config, block_index)) {
      tensors.push_back({linear.name + ".weight", {linear.out_features, linear.in_features}});
      if (linear.bias) tensors.push_back({linear.name + ".bias", {linear.out_features}});
    }
    if (config.qk_norm) {
      tensors.push_back({prefix + "self_attn.q_norm.weight", {config.head_dim}});
      tensors.push_back({prefix + "self_attn.k_norm.weight", {config.head_dim}});
    }
    tensors.push_back({prefix + "post_attention_layernorm.weight", {hidden}});
  }
  tensors.push_back({"model.norm.weight", {hidden}});
  if (!config.tie_word_embeddings) {
    tensors.push_back({"lm_head.weight", {config.vocab_size, hidden}});
  }
  return tensors;
}

}  // namespace bitsmith
