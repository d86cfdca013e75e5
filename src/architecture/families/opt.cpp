// OPT: learned positions that begin at row 2, layer norms and biases everywhere, relu.
#include "architecture/block_parts.h"
#include "architecture/families/families.h"

namespace bitsmith {
namespace {

constexpr auto kLayer = NormPlan::Kind::kLayer;

ModelPlan plan(const ConfigReader& config) {
  ModelPlan plan;
  config.read_common({.context = 2048, .tied = true, .bos = 2, .eos = 2}, plan);
  const int64_t hidden = plan.hidden_size = config.size("hidden_size");
  const int64_t width = config.size("ffn_dim");
  const int64_t blocks = config.size("num_hidden_layers", {}, kMaxBlocks);
  if (const int64_t embedded = config.size("word_embed_proj_dim", hidden); embedded != hidden)
    config.fail(concat("'word_embed_proj_dim' is ", embedded, " for a hidden_size of ", hidden,
                       ", which is not supported"));
  config.require_flag("do_layer_norm_before", true, true);
  config.require_flag("_remove_final_layer_norm", false, false);
  config.require_flag("layer_norm_elementwise_affine", true, true);
  const bool bias = config.flag("enable_bias", true);
  const Activation activation = config.activation({"activation_function"}, Activation::kRelu);
  constexpr double kEps = 1e-5;

  AttentionPlan attention;
  config.read_heads_of("num_attention_heads", attention, hidden);
  const std::string folder = "model.decoder.";
  for (int64_t b = 0; b < blocks; ++b) {
    BlockNames names = block_names(folder + "layers", b);
    const auto linear = [&](const char* name, int64_t out, int64_t in) {
      LinearPlan plan = names.linear(name, "", out, in, bias);
      plan.gguf.clear();  // llama.cpp has no OPT
      return plan;
    };
    const auto norm = [&](const char* name) {
      NormPlan plan = names.norm(name, "", kLayer, hidden, kEps);
      plan.gguf.clear();
      return plan;
    };
    BlockPlan& block = plan.blocks.emplace_back();
    block.attention_norm = norm("self_attn_layer_norm");
    block.mlp_norm = norm("final_layer_norm");
    block.attention = attention;
    block.attention.inputs = {linear("self_attn.q_proj", hidden, hidden),
                              linear("self_attn.k_proj", hidden, hidden),
                              linear("self_attn.v_proj", hidden, hidden)};
    block.attention.output = linear("self_attn.out_proj", hidden, hidden);
    block.mlp = MlpPlan{.inputs = {linear("fc1", width, hidden)},
                        .output = linear("fc2", hidden, width),
                        .gated = false,
                        .activation = activation,
                        .width = width};
  }
  plan.embedding = {
      .name = folder + "embed_tokens", .out_features = plan.vocab_size, .in_features = hidden};
  plan.position_offset = 2;
  plan.positions = {.name = folder + "embed_positions",
                    .out_features = plan.context + plan.position_offset,
                    .in_features = hidden};
  plan.final_norm = {
      .name = folder + "final_layer_norm", .kind = kLayer, .size = hidden, .eps = kEps};
  plan.head = {.name = "lm_head", .out_features = plan.vocab_size, .in_features = hidden};
  return plan;
}

}  // namespace

const Family kOpt = {.model_type = "opt",
                     .model_class = "OPTForCausalLM",
                     .gguf_architecture = nullptr,
                     .models = "OPT",
                     .plan = plan,
                     .config_from_gguf = nullptr,
                     .optional_prefix = "model."};

}  // namespace bitsmith
