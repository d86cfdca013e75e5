// Causal attention with grouped queries.
#pragma once
#include "compressor/torch.h"

namespace bitsmith {

// q [batch, length, heads, head_dim], k and v [batch, length, kv_heads, head_dim] -> [batch,
// length, heads * head_dim]. A query sees its own position and those before it; the last `window`
// of them (0: all).
torch::Tensor causal_attention(const torch::Tensor& q, const torch::Tensor& k,
                               const torch::Tensor& v, int64_t window);

// Whether this processor multiplies bfloat16 tiles, so that our own backward pass is used there.
bool has_tiled_attention_gradient();

}  // namespace bitsmith
