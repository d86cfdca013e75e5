#include "architecture/config_reader.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace bitsmith {
namespace {

struct NamedActivation {
  const char* name;
  Activation activation;
};
constexpr NamedActivation kActivations[] = {
    {"silu", Activation::kSilu},          {"swish", Activation::kSilu},
    {"gelu", Activation::kGelu},          {"gelu_new", Activation::kGeluTanh},
    {"gelu_fast", Activation::kGeluTanh}, {"gelu_pytorch_tanh", Activation::kGeluTanh},
    {"relu", Activation::kRelu},
};

}  // namespace

ConfigReader::ConfigReader(const Json& config, const std::string& source)
    : config_(config), source_(source) {
  if (!config.is_object()) fail("not a JSON object");
}

void ConfigReader::fail(const std::string& what) const { throw Error(concat(source_, ": ", what)); }

bool ConfigReader::has(const char* key) const {
  return config_.contains(key) && !config_.at(key).is_null();
}

const char* ConfigReader::first_of(std::initializer_list<const char*> keys) const {
  for (const char* key : keys)
    if (has(key)) return key;
  return *keys.begin();
}

int64_t ConfigReader::size(const char* key, std::optional<int64_t> fallback, int64_t max) const {
  const int64_t value = fallback ? json_get_or<int64_t>(config_, key, *fallback, source_)
                                 : json_get<int64_t>(config_, key, source_);
  if (value < 1 || value > max) fail(concat("'", key, "' is ", value, ", expected 1 to ", max));
  return value;
}

double ConfigReader::positive(const char* key, std::optional<double> fallback) const {
  const double value = fallback ? json_get_or<double>(config_, key, *fallback, source_)
                                : json_get<double>(config_, key, source_);
  if (!(value > 0) || !std::isfinite(value))
    fail(concat("'", key, "' is ", value, ", expected a positive number"));
  return value;
}

double ConfigReader::number_or(const char* key, double fallback) const {
  const double value = json_get_or<double>(config_, key, fallback, source_);
  if (!std::isfinite(value)) fail(concat("'", key, "' is not finite"));
  return value;
}

bool ConfigReader::flag(const char* key, bool fallback) const {
  return json_get_or<bool>(config_, key, fallback, source_);
}

std::string ConfigReader::text(const char* key, const std::string& fallback) const {
  return json_get_or<std::string>(config_, key, fallback, source_);
}

std::vector<std::string> ConfigReader::texts(const char* key) const {
  return json_get_or<std::vector<std::string>>(config_, key, {}, source_);
}

std::vector<int64_t> ConfigReader::integers(const char* key) const {
  return json_get_or<std::vector<int64_t>>(config_, key, {}, source_);
}

void ConfigReader::require_flag(const char* key, bool fallback, bool only) const {
  if (flag(key, fallback) != only)
    fail(concat("'", key, "' is ", only ? "false" : "true", ", which is not supported"));
}

void ConfigReader::read_common(const Common& fallback, ModelPlan& plan) const {
  plan.vocab_size = size("vocab_size");
  plan.context = size("max_position_embeddings", fallback.context, kMaxContext);
  plan.tied = flag("tie_word_embeddings", fallback.tied);
  plan.bos_token_id = config_.contains("bos_token_id")
                          ? json_get_or<int64_t>(config_, "bos_token_id", -1, source_)
                          : fallback.bos;
  plan.eos_token_ids = token_ids(config_, "eos_token_id", source_);
  if (!config_.contains("eos_token_id") && fallback.eos >= 0) plan.eos_token_ids = {fallback.eos};
}

Activation ConfigReader::activation(std::initializer_list<const char*> keys,
                                    Activation fallback) const {
  for (const char* key : keys) {
    if (!has(key)) continue;
    const std::string name = text(key, "");
    for (const NamedActivation& entry : kActivations)
      if (name == entry.name) return entry.activation;
    std::string known;
    for (const NamedActivation& entry : kActivations)
      known += concat(known.empty() ? "" : ", ", entry.name);
    fail(concat("'", key, "': the activation '", excerpt(name),
                "' is not supported; Bitsmith knows ", known));
  }
  return fallback;
}

void ConfigReader::require_activation(std::initializer_list<const char*> keys,
                                      Activation only) const {
  const Activation found = activation(keys, only);
  if (found != only)
    fail(concat("'", first_of(keys), "': the activation '", activation_name(found),
                "' is not this architecture's, which is '", activation_name(only), "'"));
}

void ConfigReader::require_whole_rotary() const {
  const auto check = [&](const Json& settings) {
    if (settings.is_object() &&
        json_get_or<double>(settings, "partial_rotary_factor", 1.0, source_) != 1.0)
      fail("a partial_rotary_factor other than 1 is not supported for this architecture");
  };
  check(config_);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!has(key)) continue;
    const Json& settings = config_.at(key);
    check(settings);
    for (const char* type : {"full_attention", "sliding_attention"})
      if (settings.is_object() && settings.contains(type)) check(settings.at(type));
  }
}

void ConfigReader::read_heads(AttentionPlan& attention, int64_t hidden,
                              std::optional<int64_t> kv_fallback,
                              std::optional<int64_t> head_dim_fallback) const {
  attention.heads = size("num_attention_heads");
  // A null key means as many as attention heads, whatever the family's default.
  const bool null_key =
      config_.contains("num_key_value_heads") && config_.at("num_key_value_heads").is_null();
  attention.kv_heads = size("num_key_value_heads",
                            null_key ? attention.heads : kv_fallback.value_or(attention.heads));
  if (attention.heads % attention.kv_heads != 0)
    fail(concat("'num_key_value_heads': ", attention.heads, " attention heads cannot share ",
                attention.kv_heads, " key-value heads evenly"));
  if (!head_dim_fallback && !has("head_dim") && hidden % attention.heads != 0)
    fail(concat("'num_attention_heads': hidden_size ", hidden, " is not a multiple of the ",
                attention.heads, " attention heads"));
  attention.head_dim =
      size("head_dim", head_dim_fallback.value_or(std::max<int64_t>(1, hidden / attention.heads)));
  if (attention.head_dim % 2 != 0 || attention.q_size() > kMaxSize)
    fail(concat("head_dim ", attention.head_dim, " with ", attention.heads,
                " heads is not possible: it must be even, and heads x head_dim at most ",
                kMaxSize));
  attention.scale = 1.0 / std::sqrt(static_cast<double>(attention.head_dim));
}

void ConfigReader::read_heads_of(const char* key, AttentionPlan& attention, int64_t hidden) const {
  attention.heads = attention.kv_heads = size(key);
  if (hidden % attention.heads != 0)
    fail(concat("'", key, "': a hidden size of ", hidden, " is not a multiple of the ",
                attention.heads, " attention heads"));
  attention.head_dim = hidden / attention.heads;
  attention.scale = 1.0 / std::sqrt(static_cast<double>(attention.head_dim));
}

int64_t ConfigReader::rotary_dims(const char* key, int64_t head_dim, double fallback) const {
  double share = number_or(key, fallback);
  for (const char* place : {"rope_scaling", "rope_parameters"}) {
    if (has(place) && config_.at(place).is_object())
      share = json_get_or<double>(config_.at(place), "partial_rotary_factor", share, source_);
  }
  const bool possible = share > 0 && share <= 1;
  // A share of a file that counts values, 18 / 22, gives a product beside the whole number.
  const double product = (possible ? share : 0.0) * static_cast<double>(head_dim);
  const double whole = std::round(product);
  const auto dims = static_cast<int64_t>(std::abs(product - whole) < 1e-6 ? whole : product);
  if (dims < 2 || dims % 2 != 0)
    fail(concat("'", key, "' is ", share, ": of ", head_dim,
                " values a head an even number of at least 2 must turn"));
  return dims;
}

int64_t ConfigReader::window(int64_t missing) const {
  constexpr const char* kKey = "sliding_window";
  if (!config_.contains(kKey)) return missing;
  return has(kKey) ? size(kKey, {}, kMaxContext) : 0;
}

std::vector<bool> ConfigReader::sliding_layers(int64_t blocks, bool with_window) const {
  const std::vector<std::string> types = texts("layer_types");
  std::vector<bool> result;
  if (types.empty()) return result;
  if (static_cast<int64_t>(types.size()) != blocks)
    fail(concat("'layer_types' has ", types.size(), " entries for ", blocks, " layers"));
  for (size_t i = 0; i < types.size(); ++i) {
    const bool slides = types[i] == "sliding_attention";
    if (!slides && types[i] != "full_attention")
      fail(concat("the layer type '", excerpt(types[i]), "' of layer ", i, " is not supported"));
    if (slides && !with_window)
      fail(concat("the layer type '", types[i], "' of layer ", i, " needs a sliding_window"));
    result.push_back(slides);
  }
  return result;
}

std::vector<int64_t> token_ids(const Json& config, const std::string& key,
                               const std::string& source) {
  const Json value = json_get_or<Json>(config, key, Json::array(), source);
  if (value.is_array()) return json_get_or<std::vector<int64_t>>(config, key, {}, source);
  return {json_get<int64_t>(config, key, source)};
}

}  // namespace bitsmith
