// For tests: a plan in words.
#pragma once
#include <string>

#include "architecture/model_plan.h"
#include "base/error.h"

namespace bitsmith::testing {

inline std::string norm_text(const NormPlan& norm) {
  const char* kinds[] = {"rms", "rms+1", "layer"};
  return norm.exists() ? concat(kinds[static_cast<int>(norm.kind)], " ", norm.eps) : "none";
}

inline std::string rope_text(const RopePlan& rope) {
  std::string text = concat("rope ", rope.dims, " of ", rope.theta);
  const char* kinds[] = {"", "linear", "dynamic", "llama3", "yarn", "longrope"};
  if (rope.scaling == RopePlan::Scaling::kNone) return text;
  return concat(text, " ", kinds[static_cast<int>(rope.scaling)], " ", rope.factor, " from ",
                rope.trained_context, " times ", rope.attention_factor);
}

// What a block does, and in what order.
inline std::string block_text(const ModelPlan& plan, const BlockPlan& block) {
  const AttentionPlan& a = block.attention;
  const char* orders[] = {"q, k, v", "qkv", "qkv by head"};
  std::string text = concat("attention: ", norm_text(block.attention_norm), ", ",
                            orders[static_cast<int>(a.order)], ", ", a.heads, "/", a.kv_heads,
                            " x ", a.head_dim, ", scale ", a.scale);
  if (a.q_norm.exists()) text += concat(", q/k ", norm_text(a.q_norm), " of ", a.q_norm.size);
  if (a.rope >= 0) text += ", " + rope_text(plan.ropes[static_cast<size_t>(a.rope)]);
  if (a.alibi) text += ", alibi";
  if (a.window > 0) text += concat(", window ", a.window);
  if (a.soft_cap > 0) text += concat(", cap ", a.soft_cap);
  text += concat(", then ", norm_text(block.attention_output_norm),
                 block.parallel ? "; beside it " : "; ", norm_text(block.mlp_norm), ", ");
  const auto mlp_text = [](const MlpPlan& mlp) {
    return concat(mlp.gated ? "gated " : "", activation_name(mlp.activation), " ", mlp.width);
  };
  if (block.mlp) text += mlp_text(*block.mlp);
  if (block.experts)
    text += concat(block.experts->experts_per_token, " of ", block.experts->experts.size(),
                   block.experts->normalize ? " normalized " : " ",
                   mlp_text(block.experts->experts.back()));
  return concat(text, ", then ", norm_text(block.mlp_output_norm));
}

inline std::string plan_text(const ModelPlan& plan) {
  std::string text = concat(plan.vocab_size, " x ", plan.hidden_size, ", context ", plan.context,
                            plan.tied ? ", tied" : "");
  if (plan.embedding_scale != 1) text += concat(", times ", plan.embedding_scale);
  if (plan.positions.out_features > 0)
    text += concat(", positions from ", plan.position_offset, " of ", plan.positions.out_features);
  if (plan.embedding_norm.exists()) text += ", then " + norm_text(plan.embedding_norm);
  text += "; last " + norm_text(plan.final_norm);
  if (plan.logit_soft_cap > 0) text += concat(", cap ", plan.logit_soft_cap);
  for (const BlockPlan& block : plan.blocks) text += "\n" + block_text(plan, block);
  return text;
}

}  // namespace bitsmith::testing
