// Llama 1 to 3 and Mistral: RMS norms before attention and MLP, rope, a gated MLP. Mistral adds a
// sliding window.
#include "architecture/block_parts.h"
#include "architecture/families/families.h"

namespace bitsmith {
namespace {

struct Variant {
  ConfigReader::Common common;
  std::optional<int64_t> kv_heads;  // where config.json has none; nothing: as many as heads
  bool biases;                      // attention_bias and mlp_bias are read
  bool window;
};

ModelPlan plan(const ConfigReader& config, const Variant& variant) {
  ModelPlan plan;
  config.read_common(variant.common, plan);
  const int64_t hidden = plan.hidden_size = config.size("hidden_size");
  const int64_t width = config.size("intermediate_size");
  const int64_t blocks = config.size("num_hidden_layers", {}, kMaxBlocks);
  const double eps = config.positive("rms_norm_eps", 1e-6);
  const bool attention_bias = variant.biases && config.flag("attention_bias", false);
  const bool mlp_bias = variant.biases && config.flag("mlp_bias", false);
  config.require_activation({"hidden_act"}, Activation::kSilu);

  AttentionPlan attention;
  config.read_heads(attention, hidden, variant.kv_heads, {});
  config.require_whole_rotary();
  plan.ropes = {config.rope(attention.head_dim, plan.context, 10000.0)};
  attention.rope = 0;
  // Mistral's window is 4096 where the key is missing, and none where it is null.
  const int64_t window = variant.window ? config.window(4096) : 0;
  const auto windows = config.windows(blocks, window, [](int64_t) { return true; });

  for (int64_t b = 0; b < blocks; ++b) {
    const BlockNames names = block_names("model.layers", b);
    attention.window = windows[static_cast<size_t>(b)];
    BlockPlan& block = plan.blocks.emplace_back(
        llama_block(names, hidden, eps, attention, {attention_bias, attention_bias}));
    interleave_in_gguf(block.attention);
    block.mlp = gated_mlp(names, "mlp", hidden, width, mlp_bias);
  }
  add_llama_ends(plan, NormPlan::Kind::kRms, eps);
  return plan;
}

ModelPlan plan_llama(const ConfigReader& config) {
  return plan(config, {.common = {.context = 2048, .tied = false, .bos = 1, .eos = 2},
                       .kv_heads = {},
                       .biases = true,
                       .window = false});
}

ModelPlan plan_mistral(const ConfigReader& config) {
  return plan(config, {.common = {.context = 131072, .tied = false, .bos = 1, .eos = 2},
                       .kv_heads = 8,
                       .biases = false,
                       .window = true});
}

bool has_experts(const GgufKeys& keys) { return keys.integer_or("expert_count", 0) > 0; }
bool has_window(const GgufKeys& keys) { return keys.integer_or("attention.sliding_window", 0) > 0; }

}  // namespace

const Family kLlama = {
    .model_type = "llama",
    .model_class = "LlamaForCausalLM",
    .gguf_architecture = "llama",
    .models = "Llama 1, 2, 3",
    .plan = plan_llama,
    .config_from_gguf =
        [](const GgufKeys& keys, Json& config) {
          config["attention_bias"] = keys.tensor("blk.0.attn_q.bias") != nullptr;
          config["mlp_bias"] = keys.tensor("blk.0.ffn_up.bias") != nullptr;
        },
    .claims_gguf = [](const GgufKeys& keys) { return !has_experts(keys) && !has_window(keys); }};

const Family kMistral = {
    .model_type = "mistral",
    .model_class = "MistralForCausalLM",
    .gguf_architecture = "llama",  // its window tells it apart where it matters
    .models = "Mistral",
    .plan = plan_mistral,
    .config_from_gguf =
        [](const GgufKeys& keys, Json& config) {
          config["sliding_window"] = keys.integer("attention.sliding_window");
        },
    .claims_gguf = [](const GgufKeys& keys) { return !has_experts(keys) && has_window(keys); }};

}  // namespace bitsmith
