#include "architecture/gguf_config.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace bitsmith {
namespace {

constexpr const char* kRopeFactors = "rope_freqs.weight";
constexpr const char* kShortFactors = "rope_factors_short.weight";
constexpr const char* kLongFactors = "rope_factors_long.weight";

std::vector<float> vector_of(const GgufKeys& keys, const char* name, size_t count) {
  if (!keys.tensor(name))
    throw Error(concat(keys.source(), ": no tensor '", name, "', which its rope scaling needs"));
  const TensorView& tensor = *keys.tensor(name);
  if (element_count(tensor.shape) != static_cast<int64_t>(count) || tensor.dtype != DType::F32)
    throw Error(concat(keys.source(), ": '", name, "' is ", dtype_name(tensor.dtype), " ",
                       shape_string(tensor.shape), ", expected F32 [", count, "]"));
  std::vector<float> values(count);
  decode_to_float(DType::F32, tensor.bytes, values);
  return values;
}

// GGUF keeps of llama3 scaling only the divisors of the frequencies. The settings behind them are
// found by trying: `factor` is the largest divisor, the frequency bounds are 1 and 4 in every model
// of the family, and the trained context is a power of two.
Json llama3_scaling(const GgufKeys& keys, RopePlan rope) {
  const std::vector<float> divisors =
      vector_of(keys, kRopeFactors, static_cast<size_t>(rope.dims / 2));
  const auto plain = rope_inverse_frequencies(rope, 1);
  if (std::all_of(divisors.begin(), divisors.end(), [](float d) { return d == 1.0f; }))
    return nullptr;
  rope.scaling = RopePlan::Scaling::kLlama3;
  rope.factor = shortest_decimal(*std::max_element(divisors.begin(), divisors.end()));
  for (int64_t context = 32; context <= (int64_t{1} << 20); context *= 2) {
    rope.trained_context = context;
    const auto scaled = rope_inverse_frequencies(rope, 1);
    bool same = true;
    for (size_t i = 0; i < plain.size(); ++i)
      same = same && std::abs(plain[i] / scaled[i] / divisors[i] - 1) < 1e-4;
    if (same)
      return {{"rope_type", "llama3"},
              {"factor", rope.factor},
              {"low_freq_factor", rope.low_freq_factor},
              {"high_freq_factor", rope.high_freq_factor},
              {"original_max_position_embeddings", context}};
  }
  throw Error(concat(keys.source(), ": the rope factors in '", kRopeFactors,
                     "' are not those of llama3 scaling; other kinds are not supported"));
}

Json longrope_scaling(const GgufKeys& keys, int64_t dims) {
  const auto factors = [&](const char* name) {
    Json values = Json::array();
    for (const float value : vector_of(keys, name, static_cast<size_t>(dims / 2)))
      values.push_back(shortest_decimal(value));
    return values;
  };
  Json scaling = {{"rope_type", "longrope"},
                  {"short_factor", factors(kShortFactors)},
                  {"long_factor", factors(kLongFactors)}};
  scaling["original_max_position_embeddings"] =
      keys.integer("rope.scaling.original_context_length");
  if (keys.has("rope.scaling.attn_factor"))
    scaling["attention_factor"] = keys.real("rope.scaling.attn_factor");
  return scaling;
}

// A setting that no configuration of Hugging Face can say.
void require_default(const GgufKeys& keys, const std::string& name, double only) {
  const double value = keys.real_or(name, only);
  if (value != only)
    throw Error(concat(keys.source(), ": '", keys.full(name), "' is ", value, "; only ", only,
                       " is supported"));
}

Json yarn_scaling(const GgufKeys& keys) {
  require_default(keys, "rope.scaling.yarn_ext_factor", 1);
  require_default(keys, "rope.scaling.yarn_attn_factor", 1);
  require_default(keys, "rope.scaling.yarn_log_multiplier", 0);
  const double factor = keys.real("rope.scaling.factor");
  Json scaling = {
      {"rope_type", "yarn"},
      {"factor", factor},
      {"original_max_position_embeddings", keys.integer("rope.scaling.original_context_length")}};
  if (keys.has("rope.scaling.yarn_beta_fast"))
    scaling["beta_fast"] = keys.real("rope.scaling.yarn_beta_fast");
  if (keys.has("rope.scaling.yarn_beta_slow"))
    scaling["beta_slow"] = keys.real("rope.scaling.yarn_beta_slow");
  // llama.cpp's factor is beside YaRN's own, Hugging Face's in place of it.
  if (const double beside = keys.real_or("rope.scaling.attn_factor", 1); beside != 1)
    scaling["attention_factor"] = beside * yarn_attention(factor, 1);
  return scaling;
}

Json rope_scaling(const GgufKeys& keys, int64_t dims, double theta) {
  const std::string type = keys.text_or("rope.scaling.type", "");
  if (type == "longrope" || keys.tensor(kLongFactors) || keys.tensor(kShortFactors))
    return longrope_scaling(keys, dims);
  if (type != "yarn") require_default(keys, "rope.scaling.attn_factor", 1);
  if (keys.tensor(kRopeFactors)) {
    RopePlan rope;
    rope.dims = dims;
    rope.theta = theta;
    const Json scaling = llama3_scaling(keys, rope);
    if (!scaling.is_null() && (type == "linear" || type == "yarn"))
      throw Error(concat(keys.source(), ": '", keys.full("rope.scaling.type"), "' is ", type,
                         ", and '", kRopeFactors, "' holds other divisors; only one is supported"));
    if (!scaling.is_null()) return scaling;
  }
  if (type == "linear")
    return {{"rope_type", "linear"}, {"factor", keys.real("rope.scaling.factor")}};
  if (type == "yarn") return yarn_scaling(keys);
  if (type == "none") return nullptr;
  if (!type.empty())
    throw Error(concat(keys.source(), ": the rope scaling '", excerpt(type),
                       "' is not supported; Bitsmith knows linear, llama3, yarn and longrope"));
  // A factor alone is linear. Before 2023-11 scale_linear was the only key.
  const double factor = keys.real_or("rope.scaling.factor", keys.real_or("rope.scale_linear", 1));
  if (factor == 1) return nullptr;
  return {{"rope_type", "linear"}, {"factor", factor}};
}

void add_tokens(const GgufKeys& keys, Json& config) {
  const int64_t bos = keys.token("bos");
  config["bos_token_id"] = bos >= 0 ? Json(bos) : Json();
  Json ends = Json::array();
  for (const char* which : {"eos", "eot"}) {
    const int64_t id = keys.token(which);
    if (id >= 0 && std::find(ends.begin(), ends.end(), Json(id)) == ends.end()) ends.push_back(id);
  }
  config["eos_token_id"] = ends.empty() ? Json() : ends.size() == 1 ? ends[0] : ends;
}

}  // namespace

Json config_from_gguf(const GgufKeys& keys, const Family& family) {
  const TensorView* embedding = keys.tensor("token_embd.weight");
  if (!embedding) throw Error(concat(keys.source(), ": no tensor 'token_embd.weight'"));
  const int64_t heads = keys.integer("attention.head_count");
  const int64_t hidden = keys.integer("embedding_length");
  if (heads < 1 || hidden < 1 || embedding->shape.size() != 2)
    throw Error(concat(keys.source(), ": impossible sizes: ", heads, " attention heads, ", hidden,
                       " hidden values, an embedding of ", shape_string(embedding->shape)));
  Json config;
  config["architectures"] = {family.model_class};
  config["model_type"] = family.model_type;
  config["hidden_size"] = hidden;
  // Where all layers have experts their width is enough.
  if (keys.has("feed_forward_length") || !keys.has("expert_feed_forward_length"))
    config["intermediate_size"] = keys.integer("feed_forward_length");
  config["num_hidden_layers"] = keys.integer("block_count");
  config["num_attention_heads"] = heads;
  config["num_key_value_heads"] = keys.integer_or("attention.head_count_kv", heads);
  const int64_t head_dim = keys.integer_or("attention.key_length", hidden / heads);
  config["head_dim"] = head_dim;
  const int64_t value_dim = keys.integer_or("attention.value_length", head_dim);
  if (value_dim != head_dim)
    throw Error(concat(keys.source(), ": values of heads have ", value_dim, " numbers and keys ",
                       head_dim, "; only equal sizes are supported"));
  if (keys.has("attention.layer_norm_rms_epsilon"))
    config["rms_norm_eps"] = keys.real("attention.layer_norm_rms_epsilon");
  config["max_position_embeddings"] = keys.integer("context_length");
  config["vocab_size"] = embedding->shape[0];
  config["tie_word_embeddings"] = keys.tensor("output.weight") == nullptr;
  config["torch_dtype"] = "float32";
  const int64_t dims = keys.integer_or("rope.dimension_count", head_dim);
  if (dims != head_dim && !family.partial_rotary)
    throw Error(concat(keys.source(), ": 'rope.dimension_count' is ", dims, ", but heads have ",
                       head_dim, " values; this architecture turns them all"));
  config["rope_theta"] = keys.real_or("rope.freq_base", 10000.0);
  if (const Json scaling = rope_scaling(keys, dims, config["rope_theta"]); !scaling.is_null())
    config["rope_scaling"] = scaling;
  add_tokens(keys, config);
  family.config_from_gguf(keys, config);
  return config;
}

}  // namespace bitsmith
