#include "compressor/model/attention.h"

#include <cmath>
#include <limits>
#include <vector>

#include "architecture/alibi.h"
#include "compressor/model/attention_gradient.h"
#include "kernels/cpu_features.h"

namespace bitsmith {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

// [query, key]: key - query.
torch::Tensor key_distance(int64_t length) {
  const torch::Tensor position = torch::arange(length, torch::kInt64);
  return position.unsqueeze(0) - position.unsqueeze(1);
}

// True where the query (row) may look at the key (column).
torch::Tensor causal_mask(int64_t length, int64_t window) {
  const torch::Tensor distance = key_distance(length);
  return window > 0 ? distance.le(0).logical_and(distance.gt(-window)) : distance.le(0);
}

// What is added to scores, float32: ALiBi's [heads, length, length], or [length, length] of zeros;
// minus infinity where a query must not look.
torch::Tensor score_bias(int64_t length, const AttentionOptions& options, int64_t heads) {
  torch::Tensor bias = torch::zeros({length, length});
  if (options.alibi) {
    const torch::Tensor slopes = torch::tensor(alibi_slopes(heads));
    bias = slopes.view({heads, 1, 1}) * key_distance(length).to(torch::kFloat32);
  }
  return bias.masked_fill(causal_mask(length, options.window).logical_not(),
                          -std::numeric_limits<float>::infinity());
}

// Attention with capped scores, which LibTorch has no fused form of; one window at a time, since
// all scores of it are held (with gradients those of all windows are).
torch::Tensor capped_attention(const torch::Tensor& q, const torch::Tensor& k,
                               const torch::Tensor& v, const AttentionOptions& options) {
  const int64_t repeats = q.size(2) / k.size(2), length = q.size(1);
  const torch::Tensor bias = score_bias(length, options, q.size(2));
  std::vector<torch::Tensor> windows;
  for (int64_t w = 0; w < q.size(0); ++w) {
    const auto heads_first = [&](const torch::Tensor& x) { return x[w].transpose(0, 1); };
    const torch::Tensor keys = heads_first(k).repeat_interleave(repeats, 0),
                        values = heads_first(v).repeat_interleave(repeats, 0);
    torch::Tensor scores =
        torch::matmul(heads_first(q), keys.transpose(1, 2)) * (options.scale / options.soft_cap);
    scores = scores.tanh() * options.soft_cap;
    const torch::Tensor probabilities =
        torch::softmax(scores.to(torch::kFloat32) + bias, -1).to(q.scalar_type());
    windows.push_back(torch::matmul(probabilities, values).transpose(0, 1).flatten(1));
  }
  return torch::stack(windows);
}

// LibTorch's forward pass with our backward pass.
struct TiledAttention : Function<TiledAttention> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& q,
                               const torch::Tensor& k, const torch::Tensor& v) {
    const int64_t repeats = q.size(2) / k.size(2);
    const auto [out, logsumexp] = at::_scaled_dot_product_flash_attention_for_cpu(
        q.transpose(1, 2), k.repeat_interleave(repeats, 2).transpose(1, 2),
        v.repeat_interleave(repeats, 2).transpose(1, 2), /*dropout_p=*/0.0, /*is_causal=*/true);
    const torch::Tensor result = out.transpose(1, 2).contiguous();
    context->save_for_backward({q, k, v, result, logsumexp});
    return result;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const tensor_list saved = context->get_saved_variables();
    const AttentionGradients result = causal_attention_gradients(
        saved[0].contiguous(), saved[1].contiguous(), saved[2].contiguous(), saved[3], saved[4],
        gradients[0].contiguous());
    return {result.q, result.k, result.v};
  }
};

}  // namespace

int64_t attention_score_bytes(const AttentionPlan& plan, int64_t length, int64_t element_size) {
  const int64_t scores = plan.heads * length * length;
  // Capped scores before and after tanh, their softmax in float32 before and after the cast.
  if (plan.soft_cap > 0) return scores * (3 * element_size + 8);
  // The bias with and without its mask, and in the dtype of the queries.
  return plan.alibi ? scores * (element_size + 8) : 0;
}

torch::Tensor causal_attention(const torch::Tensor& q, const torch::Tensor& k,
                               const torch::Tensor& v, const AttentionOptions& options) {
  const int64_t batch = q.size(0), length = q.size(1);
  // The causal form skips half of the work, so a mask is built only where a window really bites.
  const bool windowed = options.window > 0 && options.window < length;
  const bool plain = !windowed && !options.alibi && options.soft_cap == 0;
  const double usual_scale = 1.0 / std::sqrt(static_cast<double>(q.size(3)));
  const bool wants_gradient = torch::GradMode::is_enabled() &&
                              (q.requires_grad() || k.requires_grad() || v.requires_grad());
  if (wants_gradient && plain && options.scale == usual_scale && q.is_cpu() &&
      q.scalar_type() == torch::kBFloat16 && q.size(3) % 32 == 0 && has_bfloat16_products()) {
    return TiledAttention::apply(q, k, v).view({batch, length, -1});
  }
  if (options.soft_cap > 0) return capped_attention(q, k, v, options);
  std::optional<torch::Tensor> mask;
  if (options.alibi) {
    mask = score_bias(length, options, q.size(2)).to(q.scalar_type());
  } else if (windowed) {
    mask = causal_mask(length, options.window);
  }
  return at::scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                                          mask, /*dropout_p=*/0.0, /*is_causal=*/!mask,
                                          options.scale, /*enable_gqa=*/true)
      .transpose(1, 2)
      .reshape({batch, length, -1});
}

}  // namespace bitsmith
