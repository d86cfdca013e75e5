// Causal attention with grouped queries.
#pragma once
#include "architecture/model_plan.h"
#include "compressor/torch.h"

namespace bitsmith {

struct AttentionOptions {
  double scale = 1;  // of scores
  int64_t window =
      0;  // a query sees the last `window` positions, its own included; 0: all up to it
  double soft_cap = 0;  // score -> cap * tanh(score / cap); 0: none
  bool alibi = false;   // score += slope of the head * (key - query) (Press et al. 2022)
};

// q [batch, length, heads, head_dim], k and v [batch, length, kv_heads, head_dim] -> [batch,
// length, heads * head_dim].
torch::Tensor causal_attention(const torch::Tensor& q, const torch::Tensor& k,
                               const torch::Tensor& v, const AttentionOptions& options);

// Bytes of scores that one window holds beside inputs and outputs; with gradients each block keeps
// them until its backward pass. 0 where the fused form of LibTorch runs.
int64_t attention_score_bytes(const AttentionPlan& plan, int64_t length, int64_t element_size);

}  // namespace bitsmith
