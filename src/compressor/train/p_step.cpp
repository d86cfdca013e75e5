#include "compressor/train/p_step.h"

#include <vector>

namespace bitsmith {
namespace {

// Norms are few and act on whole channels: they move at this share of the learning rate.
constexpr double kNormRate = 0.05;

void adam_step(Trainable& trainable, const torch::Tensor& gradient, int64_t step, double rate,
               const AdamOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto direction = trainable.adam.direction(gradient, step, torch::kFloat32, options);
  trainable.value.sub_(direction.view_as(trainable.value), rate * trainable.unit);
}

void matrix_step(TunedLinear& tuned, int64_t step, double rate, const AdamOptions& options) {
  std::vector<torch::Tensor> values;
  for (auto& c : tuned.continuous) values.push_back(c.value);
  const auto weight = tuned.representation().dequantize();
  const auto gradients = torch::autograd::grad({weight}, values, {tuned.gradient});
  for (size_t i = 0; i < values.size(); ++i) {
    adam_step(tuned.continuous[i], gradients[i], step, rate, options);
  }
}

}  // namespace

void p_step(TunedBlocks& blocks, int64_t step, double rate, const AdamOptions& options) {
  for (auto& tuned : blocks.linears()) matrix_step(tuned, step, rate, options);
  for (auto& norm : blocks.norms()) {
    if (!norm.live.grad().defined()) continue;
    adam_step(norm, norm.live.grad().to(torch::kFloat32), step, rate * kNormRate, options);
  }
}

}  // namespace bitsmith
