// Qwen2, Qwen2.5 and Qwen3: as Llama; Qwen2's q, k and v have biases, Qwen3 normalizes each head's
// q and k before rope.
#include "architecture/block_parts.h"
#include "architecture/families/families.h"

namespace bitsmith {
namespace {

// The window of layers from max_window_layers on, where it is used at all.
std::vector<int64_t> windows(const ConfigReader& config, int64_t blocks) {
  const int64_t window = config.flag("use_sliding_window", false) ? config.window(4096) : 0;
  const auto first = json_get_or<int64_t>(config.json(), "max_window_layers", 28, config.source());
  return config.windows(blocks, window, [&](int64_t b) { return b >= first; });
}

ModelPlan plan(const ConfigReader& config, bool third) {
  ModelPlan plan;
  config.read_common({.context = 32768, .tied = false, .bos = -1, .eos = -1}, plan);
  const int64_t hidden = plan.hidden_size = config.size("hidden_size");
  const int64_t width = config.size("intermediate_size");
  const int64_t blocks = config.size("num_hidden_layers", {}, kMaxBlocks);
  const double eps = config.positive("rms_norm_eps", 1e-6);
  const bool bias = third && config.flag("attention_bias", false);
  config.require_activation({"hidden_act"}, Activation::kSilu);

  AttentionPlan attention;
  config.read_heads(attention, hidden, 32, third ? std::optional<int64_t>(128) : std::nullopt);
  config.require_whole_rotary();
  plan.ropes = {config.rope(attention.head_dim, plan.context, 10000.0)};
  attention.rope = 0;
  const std::vector<int64_t> window = windows(config, blocks);

  for (int64_t b = 0; b < blocks; ++b) {
    const BlockNames names = block_names("model.layers", b);
    attention.window = window[static_cast<size_t>(b)];
    BlockPlan& block = plan.blocks.emplace_back(
        llama_block(names, hidden, eps, attention, {.inputs = !third || bias, .output = bias}));
    if (third) add_head_norms(names, NormPlan::Kind::kRms, eps, block.attention);
    block.mlp = gated_mlp(names, "mlp", hidden, width);
  }
  add_llama_ends(plan, NormPlan::Kind::kRms, eps);
  return plan;
}

}  // namespace

const Family kQwen2 = {.model_type = "qwen2",
                       .model_class = "Qwen2ForCausalLM",
                       .gguf_architecture = "qwen2",
                       .models = "Qwen2, Qwen2.5",
                       .plan = [](const ConfigReader& config) { return plan(config, false); },
                       .config_from_gguf = [](const GgufKeys&, Json&) {}};

const Family kQwen3 = {.model_type = "qwen3",
                       .model_class = "Qwen3ForCausalLM",
                       .gguf_architecture = "qwen3",
                       .models = "Qwen3",
                       .plan = [](const ConfigReader& config) { return plan(config, true); },
                       .config_from_gguf =
                           [](const GgufKeys& keys, Json& config) {
                             config["attention_bias"] = keys.tensor("blk.0.attn_q.bias") != nullptr;
                           }};

}  // namespace bitsmith
