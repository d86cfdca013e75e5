// Gemma 2 and 3 (text): norms of (1 + w) before and after attention and MLP, a scaled embedding,
// gelu, local and global layers. Gemma 2 caps scores and logits; Gemma 3 normalizes q and k, and
// its local layers have a rope of their own.
#include <cmath>

#include "architecture/block_parts.h"
#include "architecture/families/families.h"
#include "base/error.h"

namespace bitsmith {
namespace {

constexpr auto kNorm = NormPlan::Kind::kRmsOnePlus;

double cap(const ConfigReader& config, const char* key, std::optional<double> fallback) {
  const bool missing = !config.json().contains(key);
  if (missing) return fallback.value_or(0);
  return config.has(key) ? config.positive(key) : 0;  // null: none
}

ModelPlan plan(const ConfigReader& config, bool third) {
  ModelPlan plan;
  config.read_common({.context = third ? 131072 : 8192, .tied = true, .bos = 2, .eos = 1}, plan);
  const int64_t hidden = plan.hidden_size = config.size("hidden_size");
  const int64_t width = config.size("intermediate_size");
  const int64_t blocks = config.size("num_hidden_layers", {}, kMaxBlocks);
  const double eps = config.positive("rms_norm_eps", 1e-6);
  const bool bias = config.flag("attention_bias", false);
  const Activation activation =
      config.activation({"hidden_activation", "hidden_act"}, Activation::kGeluTanh);
  plan.embedding_scale = std::sqrt(static_cast<double>(hidden));
  plan.logit_soft_cap =
      cap(config, "final_logit_softcapping", third ? std::nullopt : std::optional(30.0));

  AttentionPlan attention;
  config.read_heads(attention, hidden, 4, 256);
  config.require_whole_rotary();
  attention.scale = 1 / std::sqrt(config.positive("query_pre_attn_scalar", 256.0));
  // transformers reads Gemma 3's as well, and does not apply it.
  attention.soft_cap = third ? 0 : cap(config, "attn_logit_softcapping", 50.0);
  config.require_flag("use_bidirectional_attention", false, false);
  const int64_t window = config.size("sliding_window", 4096, ConfigReader::kMaxContext);
  // Of Gemma 2 every second layer is global, of Gemma 3 every sixth unless config.json says.
  const int64_t pattern = third ? config.size("sliding_window_pattern", 6) : 2;
  const auto windows =
      config.windows(blocks, window, [&](int64_t b) { return (b + 1) % pattern != 0; });
  if (third) {
    RopePlan local;
    local.dims = attention.head_dim;
    local.theta = config.positive("rope_local_base_freq", 10000.0);
    if (config.has("rope_parameters"))
      local = config.rope(attention.head_dim, plan.context, local.theta, "sliding_attention");
    plan.ropes = {config.rope(attention.head_dim, plan.context, 1e6, "full_attention"), local};
  } else {
    plan.ropes = {config.rope(attention.head_dim, plan.context, 10000.0)};
  }

  for (int64_t b = 0; b < blocks; ++b) {
    const BlockNames names = block_names("model.layers", b);
    BlockPlan& block = plan.blocks.emplace_back();
    const auto norm = [&](const char* name, const char* gguf) {
      return names.norm(name, gguf, kNorm, hidden, eps);
    };
    block.attention_norm = norm("input_layernorm", "attn_norm");
    block.attention_output_norm = norm("post_attention_layernorm", "post_attention_norm");
    block.mlp_norm = norm("pre_feedforward_layernorm", "ffn_norm");
    block.mlp_output_norm = norm("post_feedforward_layernorm", "post_ffw_norm");
    block.attention = attention;
    block.attention.window = windows[static_cast<size_t>(b)];
    block.attention.rope = third && block.attention.window > 0 ? 1 : 0;
    add_separate_attention(names, hidden, {bias, bias}, block.attention);
    if (third) add_head_norms(names, kNorm, eps, block.attention);
    block.mlp = gated_mlp(names, "mlp", hidden, width);
    block.mlp->activation = activation;
  }
  add_llama_ends(plan, kNorm, eps);
  return plan;
}

// llama.cpp writes no query_pre_attn_scalar: it is head_dim but in the 27B models, where it is
// hidden / heads.
void add_query_scalar(const GgufKeys& keys, int64_t blocks_of_27b, Json& config) {
  const int64_t hidden = config.at("hidden_size"), heads = config.at("num_attention_heads");
  config["query_pre_attn_scalar"] = keys.integer("block_count") == blocks_of_27b
                                        ? hidden / heads
                                        : config.at("head_dim").get<int64_t>();
}

// Which layers have the window. Without the key it is the family's pattern; Gemma 3 without a
// window has none anywhere.
void add_layer_types(const GgufKeys& keys, Json& config) {
  constexpr const char* kKey = "attention.sliding_window_pattern";
  const int64_t blocks = keys.integer("block_count");
  if (blocks < 1 || blocks > kMaxBlocks) return;  // the plan refuses it
  std::vector<bool> slides = keys.flags(kKey);
  if (config.at("sliding_window").is_null()) {
    slides.assign(static_cast<size_t>(blocks), false);
  } else if (slides.empty() && keys.has(kKey)) {
    const int64_t pattern = keys.integer(kKey);  // every so many layers one is global; 0: none is
    if (pattern < 0) throw Error(concat(keys.source(), ": '", keys.full(kKey), "' is ", pattern));
    for (int64_t b = 0; b < blocks; ++b) slides.push_back(pattern == 0 || (b + 1) % pattern != 0);
  }
  if (slides.empty()) return;
  if (std::ssize(slides) != blocks)
    throw Error(concat(keys.source(), ": '", keys.full(kKey), "' has ", slides.size(),
                       " values for ", blocks, " layers"));
  config["layer_types"] = Json::array();
  for (const bool window : slides)
    config["layer_types"].push_back(window ? "sliding_attention" : "full_attention");
}

}  // namespace

const Family kGemma2 = {
    .model_type = "gemma2",
    .model_class = "Gemma2ForCausalLM",
    .gguf_architecture = "gemma2",
    .models = "Gemma 2",
    .plan = [](const ConfigReader& config) { return plan(config, false); },
    .config_from_gguf =
        [](const GgufKeys& keys, Json& config) {
          config["hidden_activation"] = "gelu_pytorch_tanh";
          config["sliding_window"] = keys.integer_or("attention.sliding_window", 4096);
          config["attn_logit_softcapping"] = keys.real_or("attn_logit_softcapping", 50.0);
          config["final_logit_softcapping"] = keys.real_or("final_logit_softcapping", 30.0);
          add_layer_types(keys, config);
          add_query_scalar(keys, 46, config);
        }};

const Family kGemma3 = {
    .model_type = "gemma3_text",
    .model_class = "Gemma3ForCausalLM",
    .gguf_architecture = "gemma3",
    .models = "Gemma 3, text",
    .plan = [](const ConfigReader& config) { return plan(config, true); },
    .config_from_gguf =
        [](const GgufKeys& keys, Json& config) {
          config["hidden_activation"] = "gelu_pytorch_tanh";
          const int64_t window = keys.integer_or("attention.sliding_window", 0);
          config["sliding_window"] = window > 0 ? Json(window) : Json();
          config["rope_theta"] = keys.real_or("rope.freq_base", 1e6);
          config["rope_local_base_freq"] = keys.real_or("rope.freq_base_swa", 10000.0);
          if (keys.has("final_logit_softcapping"))
            config["final_logit_softcapping"] = keys.real("final_logit_softcapping");
          add_layer_types(keys, config);
          add_query_scalar(keys, 62, config);
        }};

}  // namespace bitsmith
