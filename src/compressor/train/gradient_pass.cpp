#include "compressor/train/gradient_pass.h"

#include <algorithm>

#include "compressor/train/kl_loss.h"

namespace bitsmith {
namespace {

// One micro-batch; returns its summed KL and adds its gradients.
double backward(TunedBlocks& tuned, Decoder& student, Decoder& teacher, const torch::Tensor& ids,
                double grad_scale) {
  torch::Tensor target;
  {
    const torch::NoGradGuard no_grad;
    target = teacher.hidden_states(ids).flatten(0, 1);
  }
  const auto hidden = student.hidden_states(ids).flatten(0, 1);
  const auto head = student.head();
  const auto kl = kl_divergence(target, teacher.head(), hidden.detach(), head, true, grad_scale);
  // A head that is the embedding too gets the gradient of that use by the backward pass.
  if (kl.grad_head.defined()) head.weight.mutable_grad() = kl.grad_head.to(head.weight.dtype());
  hidden.backward(kl.grad_hidden);
  tuned.collect_gradients();
  return kl.sum;
}

}  // namespace

double gradient_pass(TunedBlocks& tuned, Decoder& student, Decoder& teacher,
                     const torch::Tensor& windows, int64_t micro_windows) {
  tuned.clear_gradients();
  const auto tokens = static_cast<double>(windows.numel());
  double kl = 0;
  for (int64_t first = 0; first < windows.size(0); first += micro_windows) {
    const auto ids = windows.narrow(0, first, std::min(micro_windows, windows.size(0) - first));
    kl += backward(tuned, student, teacher, ids, 1.0 / tokens) / tokens;
  }
  return kl;
}

}  // namespace bitsmith
