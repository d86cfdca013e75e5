// The decoder's small operations, each one pass over memory forward and one backward. Between the
// matrix products of a tuning step they would otherwise cost as much as the products themselves:
// composed of LibTorch operations each makes four to eight passes and as many saved tensors.
// CPU tensors in float32 or bfloat16 take the fused loops, everything else the composed form; both
// round at the same places (Hugging Face's), and float32 arithmetic lies between.
#pragma once
#include "compressor/torch.h"

namespace bitsmith {

struct RotaryTable {
  torch::Tensor cos, sin;  // [length, pairs that turn] float32; at most head_dim / 2 pairs
};

// x / sqrt(mean(x^2) + eps) in float32, rounded to x's dtype, times weight; or, with
// one_plus_weight, times 1 + weight before it is rounded (Gemma). x [..., features].
torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& weight, double eps,
                       bool one_plus_weight = false);

// silu(gate) * up.
torch::Tensor silu_mul(const torch::Tensor& gate, const torch::Tensor& up);

// Turns the pairs (i, pairs + i) of each head (Hugging Face's layout); values beyond them stay.
// x [batch, length, heads, head_dim].
torch::Tensor apply_rotary(const torch::Tensor& x, const RotaryTable& rotary);

}  // namespace bitsmith
