// GPT-2: learned positions, layer norms with biases, q, k and v in one matrix, a plain MLP.
// Hugging Face's files hold its matrices as [in, out] (Conv1D).
#include "architecture/block_parts.h"
#include "architecture/families/families.h"

namespace bitsmith {
namespace {

constexpr auto kLayer = NormPlan::Kind::kLayer;

ModelPlan plan(const ConfigReader& config) {
  ModelPlan plan;
  config.read_common({.context = 1024, .tied = true, .bos = 50256, .eos = 50256}, plan);
  plan.context = config.size("n_positions", plan.context, ConfigReader::kMaxSize);
  const int64_t hidden = plan.hidden_size = config.size(config.first_of({"n_embd", "hidden_size"}));
  const int64_t width = config.has("n_inner") ? config.size("n_inner") : 4 * hidden;
  const int64_t blocks =
      config.size(config.first_of({"n_layer", "num_hidden_layers"}), {}, kMaxBlocks);
  const double eps = config.positive("layer_norm_epsilon", 1e-5);
  const Activation activation = config.activation({"activation_function"}, Activation::kGeluTanh);
  config.require_flag("scale_attn_weights", true, true);
  config.require_flag("scale_attn_by_inverse_layer_idx", false, false);

  AttentionPlan attention;
  config.read_heads_of(config.first_of({"n_head", "num_attention_heads"}), attention, hidden);
  attention.order = AttentionPlan::Order::kConcatenated;

  for (int64_t b = 0; b < blocks; ++b) {
    const BlockNames names = block_names("transformer.h", b);
    const auto conv1d = [&](const char* name, const char* gguf, int64_t out, int64_t in) {
      LinearPlan linear = names.linear(name, gguf, out, in, /*bias=*/true);
      linear.stored = StoredAs::kTransposed;
      return linear;
    };
    BlockPlan& block = plan.blocks.emplace_back();
    block.attention_norm = names.norm("ln_1", "attn_norm", kLayer, hidden, eps);
    block.mlp_norm = names.norm("ln_2", "ffn_norm", kLayer, hidden, eps);
    block.attention = attention;
    block.attention.inputs = {conv1d("attn.c_attn", "attn_qkv", 3 * hidden, hidden)};
    block.attention.output = conv1d("attn.c_proj", "attn_output", hidden, hidden);
    block.mlp = MlpPlan{.inputs = {conv1d("mlp.c_fc", "ffn_up", width, hidden)},
                        .output = conv1d("mlp.c_proj", "ffn_down", hidden, width),
                        .gated = false,
                        .activation = activation,
                        .width = width};
  }
  add_ends(plan, {"transformer.wte", "transformer.ln_f", "lm_head"}, kLayer, eps);
  plan.positions = {.name = "transformer.wpe",
                    .out_features = plan.context,
                    .in_features = hidden,
                    .gguf = "position_embd"};
  return plan;
}

}  // namespace

const Family kGpt2 = {.model_type = "gpt2",
                      .model_class = "GPT2LMHeadModel",
                      .gguf_architecture = "gpt2",
                      .models = "GPT-2",
                      .plan = plan,
                      .config_from_gguf =
                          [](const GgufKeys& keys, Json& config) {
                            config["n_embd"] = config["hidden_size"];
                            config["n_layer"] = config["num_hidden_layers"];
                            config["n_head"] = config["num_attention_heads"];
                            config["n_positions"] = config["max_position_embeddings"];
                            if (config.contains("intermediate_size"))
                              config["n_inner"] = config["intermediate_size"];
                            config["layer_norm_epsilon"] =
                                keys.real("attention.layer_norm_epsilon");
                          },
                      .optional_prefix = "transformer."};

}  // namespace bitsmith
