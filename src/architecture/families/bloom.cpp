// BLOOM: ALiBi instead of positions, a norm after the embedding, layer norms with biases, q, k and
// v of each head in one matrix, a plain MLP with gelu.
#include "architecture/block_parts.h"
#include "architecture/families/families.h"

namespace bitsmith {
namespace {

constexpr auto kLayer = NormPlan::Kind::kLayer;

ModelPlan plan(const ConfigReader& config) {
  ModelPlan plan;
  config.read_common({.context = 2048, .tied = true, .bos = 1, .eos = 2}, plan);
  plan.context = config.size("seq_length", plan.context, ConfigReader::kMaxContext);
  const int64_t hidden = plan.hidden_size =
      config.size(config.first_of({"n_embed", "hidden_size"}));
  const int64_t blocks =
      config.size(config.first_of({"n_layer", "num_hidden_layers"}), {}, kMaxBlocks);
  const double eps = config.positive("layer_norm_epsilon", 1e-5);
  config.require_flag("apply_residual_connection_post_layernorm", false, false);

  AttentionPlan attention;
  config.read_heads_of(config.first_of({"n_head", "num_attention_heads"}), attention, hidden);
  attention.order = AttentionPlan::Order::kByHead;
  attention.alibi = true;

  for (int64_t b = 0; b < blocks; ++b) {
    const BlockNames names = block_names("transformer.h", b);
    BlockPlan& block = plan.blocks.emplace_back();
    add_input_norms(names, kLayer, hidden, eps, block);
    block.attention = attention;
    block.attention.inputs = {names.linear("self_attention.query_key_value", "attn_qkv", 3 * hidden,
                                           hidden, /*bias=*/true)};
    block.attention.inputs[0].gguf_stored = StoredAs::kConcatenatedQkv;
    block.attention.output =
        names.linear("self_attention.dense", "attn_output", hidden, hidden, /*bias=*/true);
    block.mlp = plain_mlp(names, "mlp.dense_h_to_4h", "mlp.dense_4h_to_h", hidden, 4 * hidden,
                          Activation::kGeluTanh);
  }
  add_ends(plan, {"transformer.word_embeddings", "transformer.ln_f", "lm_head"}, kLayer, eps);
  plan.embedding_norm = {.name = "transformer.word_embeddings_layernorm",
                         .kind = kLayer,
                         .size = hidden,
                         .eps = eps,
                         .gguf = "token_embd_norm"};
  return plan;
}

}  // namespace

const Family kBloom = {.model_type = "bloom",
                       .model_class = "BloomForCausalLM",
                       .gguf_architecture = "bloom",
                       .models = "BLOOM",
                       .plan = plan,
                       .config_from_gguf =
                           [](const GgufKeys& keys, Json& config) {
                             config["n_layer"] = config["num_hidden_layers"];
                             config["n_head"] = config["num_attention_heads"];
                             config["layer_norm_epsilon"] =
                                 keys.real("attention.layer_norm_epsilon");
                           },
                       .optional_prefix = "transformer."};

}  // namespace bitsmith
