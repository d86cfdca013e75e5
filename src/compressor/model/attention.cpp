#include "compressor/model/attention.h"

#include <ATen/native/CPUBlas.h>

#include "compressor/model/attention_gradient.h"

namespace bitsmith {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

// True where the query (row) may look at the key (column).
torch::Tensor window_mask(int64_t length, int64_t window, torch::Device device) {
  const torch::Tensor position =
      torch::arange(length, torch::TensorOptions(torch::kInt64).device(device));
  const torch::Tensor distance = position.unsqueeze(1) - position.unsqueeze(0);
  return distance.ge(0).logical_and(distance.lt(window));
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

bool has_tiled_attention_gradient() { return at::native::cpublas::could_pack(torch::kBFloat16); }

torch::Tensor causal_attention(const torch::Tensor& q, const torch::Tensor& k,
                               const torch::Tensor& v, int64_t window) {
  const int64_t batch = q.size(0), length = q.size(1);
  // The causal form skips half of the work, so a mask is built only where a window really bites.
  const bool windowed = window > 0 && window < length;
  const bool wants_gradient = torch::GradMode::is_enabled() &&
                              (q.requires_grad() || k.requires_grad() || v.requires_grad());
  if (wants_gradient && !windowed && q.is_cpu() && q.scalar_type() == torch::kBFloat16 &&
      q.size(3) % 32 == 0 && has_tiled_attention_gradient()) {
    return TiledAttention::apply(q, k, v).view({batch, length, -1});
  }
  const std::optional<torch::Tensor> mask =
      windowed ? std::optional(window_mask(length, window, q.device())) : std::nullopt;
  return at::scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                                          mask, /*dropout_p=*/0.0, /*is_causal=*/!windowed,
                                          /*scale=*/std::nullopt, /*enable_gqa=*/true)
      .transpose(1, 2)
      .reshape({batch, length, -1});
}

}  // namespace bitsmith
