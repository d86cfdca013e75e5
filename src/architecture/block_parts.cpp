#include "architecture/block_parts.h"

#include "base/error.h"

namespace bitsmith {

LinearPlan BlockNames::linear(const std::string& name, const std::string& gguf_name,
                              int64_t out_features, int64_t in_features, bool bias) const {
  return {.name = hugging_face + name,
          .out_features = out_features,
          .in_features = in_features,
          .bias = bias,
          .gguf = gguf + gguf_name};
}

NormPlan BlockNames::norm(const std::string& name, const std::string& gguf_name,
                          NormPlan::Kind kind, int64_t size, double eps) const {
  return {.name = hugging_face + name,
          .kind = kind,
          .size = size,
          .eps = eps,
          .gguf = gguf + gguf_name};
}

BlockNames block_names(const std::string& folder, int64_t block_index) {
  return {concat(folder, ".", block_index, "."), concat("blk.", block_index, ".")};
}

void add_separate_attention(const BlockNames& names, int64_t hidden, AttentionBiases biases,
                            AttentionPlan& attention) {
  attention.order = AttentionPlan::Order::kSeparate;
  attention.inputs = {
      names.linear("self_attn.q_proj", "attn_q", attention.q_size(), hidden, biases.inputs),
      names.linear("self_attn.k_proj", "attn_k", attention.kv_size(), hidden, biases.inputs),
      names.linear("self_attn.v_proj", "attn_v", attention.kv_size(), hidden, biases.inputs)};
  attention.output =
      names.linear("self_attn.o_proj", "attn_output", hidden, attention.q_size(), biases.output);
}

void interleave_in_gguf(AttentionPlan& attention) {
  attention.inputs[0].gguf_stored = StoredAs::kInterleavedHeads;
  attention.inputs[1].gguf_stored = StoredAs::kInterleavedHeads;
}

MlpPlan gated_mlp(const BlockNames& names, const std::string& module, int64_t hidden, int64_t width,
                  bool bias) {
  return {.inputs = {names.linear(module + ".gate_proj", "ffn_gate", width, hidden, bias),
                     names.linear(module + ".up_proj", "ffn_up", width, hidden, bias)},
          .output = names.linear(module + ".down_proj", "ffn_down", hidden, width, bias),
          .gated = true,
          .activation = Activation::kSilu,
          .width = width};
}

MlpPlan plain_mlp(const BlockNames& names, const std::string& up, const std::string& down,
                  int64_t hidden, int64_t width, Activation activation) {
  return {.inputs = {names.linear(up, "ffn_up", width, hidden, /*bias=*/true)},
          .output = names.linear(down, "ffn_down", hidden, width, /*bias=*/true),
          .gated = false,
          .activation = activation,
          .width = width};
}

void add_input_norms(const BlockNames& names, NormPlan::Kind kind, int64_t hidden, double eps,
                     BlockPlan& block) {
  block.attention_norm = names.norm("input_layernorm", "attn_norm", kind, hidden, eps);
  block.mlp_norm = names.norm("post_attention_layernorm", "ffn_norm", kind, hidden, eps);
}

BlockPlan llama_block(const BlockNames& names, int64_t hidden, double eps,
                      const AttentionPlan& attention, AttentionBiases biases) {
  BlockPlan block;
  add_input_norms(names, NormPlan::Kind::kRms, hidden, eps, block);
  block.attention = attention;
  add_separate_attention(names, hidden, biases, block.attention);
  return block;
}

void add_head_norms(const BlockNames& names, NormPlan::Kind kind, double eps,
                    AttentionPlan& attention) {
  const int64_t head_dim = attention.head_dim;
  attention.q_norm = names.norm("self_attn.q_norm", "attn_q_norm", kind, head_dim, eps);
  attention.k_norm = names.norm("self_attn.k_norm", "attn_k_norm", kind, head_dim, eps);
}

void add_ends(ModelPlan& plan, const EndNames& names, NormPlan::Kind norm, double eps) {
  const int64_t hidden = plan.hidden_size;
  const auto matrix = [&](const std::string& name, const char* gguf) {
    return LinearPlan{
        .name = name, .out_features = plan.vocab_size, .in_features = hidden, .gguf = gguf};
  };
  plan.embedding = matrix(names.embedding, "token_embd");
  plan.final_norm = {
      .name = names.norm, .kind = norm, .size = hidden, .eps = eps, .gguf = "output_norm"};
  plan.head = matrix(names.head, "output");
}

void add_llama_ends(ModelPlan& plan, NormPlan::Kind norm, double eps) {
  add_ends(plan, {"model.embed_tokens", "model.norm", "lm_head"}, norm, eps);
}

}  // namespace bitsmith
