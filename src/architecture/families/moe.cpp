// Mixtral and Qwen3-MoE: each token goes through the few experts that a router chooses.
#include <algorithm>

#include "architecture/block_parts.h"
#include "architecture/families/families.h"

namespace bitsmith {
namespace {

constexpr auto kRms = NormPlan::Kind::kRms;

struct ExpertNames {
  const char *router, *experts, *gate, *up, *down;
};

ExpertsPlan experts_plan(const BlockNames& names, const ExpertNames& modules, int64_t count,
                         int64_t experts_per_token, bool normalize, int64_t hidden, int64_t width) {
  ExpertsPlan plan;
  plan.router = names.linear(modules.router, "ffn_gate_inp", count, hidden);
  plan.experts_per_token = experts_per_token;
  plan.normalize = normalize;
  for (int64_t e = 0; e < count; ++e) {
    const std::string prefix = modules.experts + std::to_string(e) + ".";
    // GGUF stacks the experts' matrices: blk.N.ffn_gate_exps [experts, out, in].
    const auto linear = [&](const char* name, const char* gguf, int64_t out, int64_t in) {
      LinearPlan linear = names.linear(prefix + name, gguf, out, in);
      linear.gguf_index = e;
      return linear;
    };
    plan.experts.push_back({.inputs = {linear(modules.gate, "ffn_gate_exps", width, hidden),
                                       linear(modules.up, "ffn_up_exps", width, hidden)},
                            .output = linear(modules.down, "ffn_down_exps", hidden, width),
                            .gated = true,
                            .activation = Activation::kSilu,
                            .width = width});
  }
  return plan;
}

// How many experts there are, and how many a token uses.
struct ExpertCounts {
  int64_t count, per_token;
};
ExpertCounts expert_counts(const ConfigReader& config, const char* key, int64_t blocks,
                           int64_t count, int64_t per_token) {
  constexpr int64_t kMaxExperts = 4096, kMaxOfAllBlocks = 1 << 16;
  const ExpertCounts counts = {config.size(key, count, kMaxExperts),
                               config.size("num_experts_per_tok", per_token, kMaxExperts)};
  if (counts.per_token > counts.count)
    config.fail(concat("'num_experts_per_tok': a token cannot use ", counts.per_token, " of ",
                       counts.count, " experts"));
  if (counts.count * blocks > kMaxOfAllBlocks)
    config.fail(concat("'", key, "': ", counts.count, " experts in each of ", blocks,
                       " layers are more than the ", kMaxOfAllBlocks, " that Bitsmith can hold"));
  return counts;
}

ModelPlan plan_mixtral(const ConfigReader& config) {
  ModelPlan plan;
  config.read_common({.context = 131072, .tied = false, .bos = 1, .eos = 2}, plan);
  const int64_t hidden = plan.hidden_size = config.size("hidden_size");
  const int64_t width = config.size("intermediate_size");
  const int64_t blocks = config.size("num_hidden_layers", {}, kMaxBlocks);
  const double eps = config.positive("rms_norm_eps", 1e-5);
  const ExpertCounts experts = expert_counts(config, "num_local_experts", blocks, 8, 2);
  config.require_activation({"hidden_act"}, Activation::kSilu);

  AttentionPlan attention;
  config.read_heads(attention, hidden, 8, {});
  config.require_whole_rotary();
  plan.ropes = {config.rope(attention.head_dim, plan.context, 1e6)};
  attention.rope = 0;
  attention.window = config.window(0);

  for (int64_t b = 0; b < blocks; ++b) {
    const BlockNames names = block_names("model.layers", b);
    BlockPlan& block = plan.blocks.emplace_back(llama_block(names, hidden, eps, attention, {}));
    interleave_in_gguf(block.attention);
    block.experts =
        experts_plan(names,
                     {.router = "block_sparse_moe.gate",
                      .experts = "block_sparse_moe.experts.",
                      .gate = "w1",
                      .up = "w3",
                      .down = "w2"},
                     experts.count, experts.per_token, /*normalize=*/true, hidden, width);
  }
  add_llama_ends(plan, kRms, eps);
  return plan;
}

ModelPlan plan_qwen3_moe(const ConfigReader& config) {
  ModelPlan plan;
  config.read_common({.context = 32768, .tied = false, .bos = -1, .eos = -1}, plan);
  const int64_t hidden = plan.hidden_size = config.size("hidden_size");
  const int64_t blocks = config.size("num_hidden_layers", {}, kMaxBlocks);
  const double eps = config.positive("rms_norm_eps", 1e-6);
  const bool bias = config.flag("attention_bias", false);
  // transformers 5 writes the second name.
  const ExpertCounts experts =
      expert_counts(config, config.first_of({"num_experts", "num_local_experts"}), blocks, 128, 8);
  const int64_t expert_width = config.size("moe_intermediate_size", 768);
  const bool normalize = config.flag("norm_topk_prob", false);
  const int64_t every = config.size("decoder_sparse_step", 1);
  const std::vector<int64_t> dense = config.integers("mlp_only_layers");
  config.require_activation({"hidden_act"}, Activation::kSilu);

  AttentionPlan attention;
  config.read_heads(attention, hidden, 4, {});
  config.require_whole_rotary();
  plan.ropes = {config.rope(attention.head_dim, plan.context, 10000.0)};
  attention.rope = 0;
  if (config.flag("use_sliding_window", false)) attention.window = config.window(4096);

  for (int64_t b = 0; b < blocks; ++b) {
    const BlockNames names = block_names("model.layers", b);
    BlockPlan& block =
        plan.blocks.emplace_back(llama_block(names, hidden, eps, attention, {bias, bias}));
    add_head_norms(names, kRms, eps, block.attention);
    if (std::find(dense.begin(), dense.end(), b) != dense.end() || (b + 1) % every != 0) {
      block.mlp = gated_mlp(names, "mlp", hidden, config.size("intermediate_size"));
    } else {
      block.experts =
          experts_plan(names,
                       {.router = "mlp.gate",
                        .experts = "mlp.experts.",
                        .gate = "gate_proj",
                        .up = "up_proj",
                        .down = "down_proj"},
                       experts.count, experts.per_token, normalize, hidden, expert_width);
    }
  }
  add_llama_ends(plan, kRms, eps);
  return plan;
}

}  // namespace

const Family kMixtral = {
    .model_type = "mixtral",
    .model_class = "MixtralForCausalLM",
    .gguf_architecture = "llama",
    .models = "Mixtral",
    .plan = plan_mixtral,
    .config_from_gguf =
        [](const GgufKeys& keys, Json& config) {
          config["num_local_experts"] = keys.integer("expert_count");
          config["num_experts_per_tok"] = keys.integer("expert_used_count");
          config["sliding_window"] = nullptr;
        },
    .claims_gguf = [](const GgufKeys& keys) { return keys.integer_or("expert_count", 0) > 0; }};

const Family kQwen3Moe = {
    .model_type = "qwen3_moe",
    .model_class = "Qwen3MoeForCausalLM",
    .gguf_architecture = "qwen3moe",
    .models = "Qwen3-MoE",
    .plan = plan_qwen3_moe,
    .config_from_gguf = [](const GgufKeys& keys, Json& config) {
      config["num_experts"] = keys.integer("expert_count");
      config["num_experts_per_tok"] = keys.integer("expert_used_count");
      const int64_t used = std::max<int64_t>(1, keys.integer("expert_used_count"));
      config["moe_intermediate_size"] = keys.integer_or(
          "expert_feed_forward_length", keys.integer_or("feed_forward_length", 0) / used);
      config["norm_topk_prob"] = true;  // llama.cpp always normalizes for this architecture
      config["attention_bias"] = keys.tensor("blk.0.attn_q.bias") != nullptr;
    }};

}  // namespace bitsmith
