// Phi-3: as Llama, with q, k and v in one matrix, gate and up in another, perhaps a sliding window,
// and longrope.
#include "architecture/block_parts.h"
#include "architecture/families/families.h"

namespace bitsmith {
namespace {

ModelPlan plan(const ConfigReader& config) {
  ModelPlan plan;
  config.read_common({.context = 4096, .tied = false, .bos = 1, .eos = 32000}, plan);
  const int64_t hidden = plan.hidden_size = config.size("hidden_size");
  const int64_t width = config.size("intermediate_size");
  const int64_t blocks = config.size("num_hidden_layers", {}, kMaxBlocks);
  const double eps = config.positive("rms_norm_eps", 1e-5);
  config.require_activation({"hidden_act"}, Activation::kSilu);

  AttentionPlan attention;
  config.read_heads(attention, hidden, {}, {});
  // Beside the rope settings, where other families do not look.
  const int64_t trained =
      config.size("original_max_position_embeddings", 4096, ConfigReader::kMaxContext);
  plan.ropes = {config.rope(config.rotary_dims("partial_rotary_factor", attention.head_dim, 1.0),
                            plan.context, 10000.0, "", trained)};
  attention.rope = 0;
  attention.order = AttentionPlan::Order::kConcatenated;
  const int64_t window = config.window(0);
  const auto windows = config.windows(blocks, window, [](int64_t) { return true; });

  constexpr auto kRms = NormPlan::Kind::kRms;
  for (int64_t b = 0; b < blocks; ++b) {
    const BlockNames names = block_names("model.layers", b);
    BlockPlan& block = plan.blocks.emplace_back();
    add_input_norms(names, kRms, hidden, eps, block);
    block.attention = attention;
    block.attention.window = windows[static_cast<size_t>(b)];
    block.attention.inputs = {names.linear("self_attn.qkv_proj", "attn_qkv",
                                           attention.q_size() + 2 * attention.kv_size(), hidden)};
    block.attention.output =
        names.linear("self_attn.o_proj", "attn_output", hidden, attention.q_size());
    block.mlp = MlpPlan{.inputs = {names.linear("mlp.gate_up_proj", "ffn_up", 2 * width, hidden)},
                        .output = names.linear("mlp.down_proj", "ffn_down", hidden, width),
                        .gated = true,
                        .activation = Activation::kSilu,
                        .width = width};
  }
  add_llama_ends(plan, kRms, eps);
  return plan;
}

}  // namespace

const Family kPhi3 = {.model_type = "phi3",
                      .model_class = "Phi3ForCausalLM",
                      .gguf_architecture = "phi3",
                      .models = "Phi-3, Phi-3.5, Phi-4",
                      .plan = plan,
                      .config_from_gguf =
                          [](const GgufKeys& keys, Json& config) {
                            const int64_t head_dim = config.at("head_dim");
                            const int64_t dims = keys.integer_or("rope.dimension_count", head_dim);
                            config["partial_rotary_factor"] =
                                static_cast<double>(dims) / static_cast<double>(head_dim);
                            constexpr const char* kTrained = "rope.scaling.original_context_length";
                            if (keys.has(kTrained))
                              config["original_max_position_embeddings"] = keys.integer(kTrained);
                            const int64_t window = keys.integer_or("attention.sliding_window", 0);
                            config["sliding_window"] = window > 0 ? Json(window) : Json();
                          },
                      .partial_rotary = true};

}  // namespace bitsmith
