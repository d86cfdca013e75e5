// Parts that several families' blocks are made of.
#pragma once
#include <string>

#include "architecture/model_plan.h"

namespace bitsmith {

// Where block number `block_index` keeps its modules: "model.layers.3." and "blk.3.".
struct BlockNames {
  std::string hugging_face, gguf;
  LinearPlan linear(const std::string& name, const std::string& gguf_name, int64_t out_features,
                    int64_t in_features, bool bias = false) const;
  NormPlan norm(const std::string& name, const std::string& gguf_name, NormPlan::Kind kind,
                int64_t size, double eps) const;
};
// `folder`: "model.layers".
BlockNames block_names(const std::string& folder, int64_t block_index);

// q_proj, k_proj, v_proj and o_proj of self_attn, from and to `hidden`.
struct AttentionBiases {
  bool inputs = false, output = false;
};
void add_separate_attention(const BlockNames& names, int64_t hidden, AttentionBiases biases,
                            AttentionPlan& attention);
// input_layernorm and post_attention_layernorm, before attention and MLP.
void add_input_norms(const BlockNames& names, NormPlan::Kind kind, int64_t hidden, double eps,
                     BlockPlan& block);
// The part of a block that Llama's relatives share: input norms (RMS), and the attention of q_proj,
// k_proj, v_proj and o_proj. The MLP is the family's.
BlockPlan llama_block(const BlockNames& names, int64_t hidden, double eps,
                      const AttentionPlan& attention, AttentionBiases biases);
// self_attn.q_norm and k_norm, of each head's values.
void add_head_norms(const BlockNames& names, NormPlan::Kind kind, double eps,
                    AttentionPlan& attention);
// llama.cpp turns neighboring values where Hugging Face turns those half a head apart, and stores
// the rows of q and k in that order.
void interleave_in_gguf(AttentionPlan& attention);

// gate_proj, up_proj and down_proj of `module` ("mlp").
MlpPlan gated_mlp(const BlockNames& names, const std::string& module, int64_t hidden, int64_t width,
                  bool bias = false);

// Two linears with biases around an activation; in GGUF ffn_up and ffn_down.
MlpPlan plain_mlp(const BlockNames& names, const std::string& up, const std::string& down,
                  int64_t hidden, int64_t width, Activation activation);

// What comes before and after the blocks, by its modules' names.
struct EndNames {
  std::string embedding, norm, head;
};
void add_ends(ModelPlan& plan, const EndNames& names, NormPlan::Kind norm, double eps);
// model.embed_tokens, model.norm and lm_head.
void add_llama_ends(ModelPlan& plan, NormPlan::Kind norm, double eps);

}  // namespace bitsmith
