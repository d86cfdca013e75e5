// The backward pass of causal attention in bfloat16 with float32 sums, in tiles that processors
// multiply by instructions for it (AMX, AVX512_BF16).
#pragma once
#include "compressor/torch.h"

namespace bitsmith {

struct AttentionGradients {
  torch::Tensor q, k, v;
};

// q, out, dout [batch, length, heads, head_dim]; k, v [batch, length, kv_heads, head_dim]; all
// bfloat16 and contiguous; logsumexp [batch, heads, length] float32 of the scaled scores. head_dim
// is a multiple of 32. Does not depend on the number of threads.
AttentionGradients causal_attention_gradients(const torch::Tensor& q, const torch::Tensor& k,
                                              const torch::Tensor& v, const torch::Tensor& out,
                                              const torch::Tensor& logsumexp,
                                              const torch::Tensor& dout);

}  // namespace bitsmith
