// OLMo 2: norms after attention and MLP instead of before, and of all heads' q and k together.
#include "architecture/block_parts.h"
#include "architecture/families/families.h"
#include "base/error.h"

namespace bitsmith {
namespace {

ModelPlan plan(const ConfigReader& config) {
  ModelPlan plan;
  config.read_common({.context = 2048, .tied = false, .bos = -1, .eos = 50279}, plan);
  const int64_t hidden = plan.hidden_size = config.size("hidden_size");
  const int64_t width = config.size("intermediate_size");
  const int64_t blocks = config.size("num_hidden_layers", {}, kMaxBlocks);
  const double eps = config.positive("rms_norm_eps", 1e-5);
  const bool bias = config.flag("attention_bias", false);
  config.require_activation({"hidden_act"}, Activation::kSilu);

  AttentionPlan attention;
  config.read_heads(attention, hidden, {}, {});
  config.require_whole_rotary();
  plan.ropes = {config.rope(attention.head_dim, plan.context, 10000.0)};
  attention.rope = 0;

  constexpr auto kRms = NormPlan::Kind::kRms;
  for (int64_t b = 0; b < blocks; ++b) {
    const BlockNames names = block_names("model.layers", b);
    BlockPlan& block = plan.blocks.emplace_back();
    block.attention_output_norm =
        names.norm("post_attention_layernorm", "post_attention_norm", kRms, hidden, eps);
    block.mlp_output_norm =
        names.norm("post_feedforward_layernorm", "post_ffw_norm", kRms, hidden, eps);
    block.attention = attention;
    add_separate_attention(names, hidden, {bias, bias}, block.attention);
    block.attention.q_norm =
        names.norm("self_attn.q_norm", "attn_q_norm", kRms, attention.q_size(), eps);
    block.attention.k_norm =
        names.norm("self_attn.k_norm", "attn_k_norm", kRms, attention.kv_size(), eps);
    block.mlp = gated_mlp(names, "mlp", hidden, width);
  }
  add_llama_ends(plan, kRms, eps);
  return plan;
}

}  // namespace

const Family kOlmo2 = {.model_type = "olmo2",
                       .model_class = "Olmo2ForCausalLM",
                       .gguf_architecture = "olmo2",
                       .models = "OLMo 2",
                       .plan = plan,
                       .config_from_gguf = [](const GgufKeys& keys, Json&) {
                         if (keys.integer_or("attention.sliding_window", 0) > 0)
                           throw Error(keys.source() +
                                       ": an OLMo 3 model (it has a sliding window), which is not "
                                       "supported");
                       }};

}  // namespace bitsmith
