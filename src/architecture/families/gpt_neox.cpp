// GPT-NeoX and Pythia: attention and MLP from the same inputs, rope on a part of each head, layer
// norms and biases, q, k and v of each head in one matrix.
#include "architecture/block_parts.h"
#include "architecture/families/families.h"

namespace bitsmith {
namespace {

constexpr auto kLayer = NormPlan::Kind::kLayer;

ModelPlan plan(const ConfigReader& config) {
  ModelPlan plan;
  config.read_common({.context = 2048, .tied = false, .bos = 0, .eos = 2}, plan);
  const int64_t hidden = plan.hidden_size = config.size("hidden_size");
  const int64_t width = config.size("intermediate_size");
  const int64_t blocks = config.size("num_hidden_layers", {}, kMaxBlocks);
  const double eps = config.positive("layer_norm_eps", 1e-5);
  const bool bias = config.flag("attention_bias", true);
  const bool parallel = config.flag("use_parallel_residual", true);
  const Activation activation = config.activation({"hidden_act"}, Activation::kGelu);

  AttentionPlan attention;
  config.read_heads_of("num_attention_heads", attention, hidden);
  attention.order = AttentionPlan::Order::kByHead;
  const char* share = config.first_of({"rotary_pct", "partial_rotary_factor"});
  plan.ropes = {config.rope(config.rotary_dims(share, attention.head_dim, 0.25), plan.context,
                            config.positive("rotary_emb_base", 10000.0))};
  attention.rope = 0;

  for (int64_t b = 0; b < blocks; ++b) {
    const BlockNames names = block_names("gpt_neox.layers", b);
    BlockPlan& block = plan.blocks.emplace_back();
    block.parallel = parallel;
    add_input_norms(names, kLayer, hidden, eps, block);
    block.attention = attention;
    block.attention.inputs = {
        names.linear("attention.query_key_value", "attn_qkv", 3 * hidden, hidden, bias)};
    block.attention.inputs[0].gguf_stored = StoredAs::kConcatenatedQkv;
    block.attention.output = names.linear("attention.dense", "attn_output", hidden, hidden, bias);
    block.mlp =
        plain_mlp(names, "mlp.dense_h_to_4h", "mlp.dense_4h_to_h", hidden, width, activation);
  }
  add_ends(plan, {"gpt_neox.embed_in", "gpt_neox.final_layer_norm", "embed_out"}, kLayer, eps);
  return plan;
}

}  // namespace

const Family kGptNeox = {
    .model_type = "gpt_neox",
    .model_class = "GPTNeoXForCausalLM",
    .gguf_architecture = "gptneox",
    .models = "GPT-NeoX, Pythia",
    .plan = plan,
    .config_from_gguf =
        [](const GgufKeys& keys, Json& config) {
          const int64_t head_dim = config.at("head_dim");
          config["rotary_pct"] =
              static_cast<double>(keys.integer_or("rope.dimension_count", head_dim)) /
              static_cast<double>(head_dim);
          config["rotary_emb_base"] = keys.real_or("rope.freq_base", 10000.0);
          config["layer_norm_eps"] = keys.real("attention.layer_norm_epsilon");
          config["use_parallel_residual"] = keys.flag_or("use_parallel_residual", true);
        },
    .partial_rotary = true};

}  // namespace bitsmith
