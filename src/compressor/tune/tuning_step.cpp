#include "compressor/tune/tuning_step.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "compressor/tune/kl_loss.h"

namespace bitsmith {
namespace {

// Norms are few and act on whole channels: they move at this share of the learning rate.
constexpr double kNormRate = 0.05;

// Forward and backward of one micro-batch; returns its summed KL and leaves gradients on the
// student's leaves.
double backward(Student& student, Decoder& teacher, const torch::Tensor& ids, double grad_scale) {
  torch::Tensor target;
  {
    const torch::NoGradGuard no_grad;
    target = teacher.hidden_states(ids).flatten(0, 1);
  }
  const auto hidden = student.decoder().hidden_states(ids).flatten(0, 1);
  const auto kl = kl_divergence(target, teacher.head().weight, hidden.detach(),
                                student.decoder().head().weight, true, grad_scale);
  hidden.backward(kl.grad_hidden);
  student.collect_gradients();
  return kl.sum;
}

void adam_step(Trainable& trainable, const torch::Tensor& gradient, int64_t step, double rate,
               const AdamOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto direction = trainable.adam.direction(gradient, step, torch::kFloat32, options);
  trainable.value.sub_(direction.view_as(trainable.value), rate * trainable.unit);
}

// The P step of one matrix: its dense gradient, through dequantize(), to the continuous parameters.
void p_step(TunedLinear& tuned, int64_t step, double rate, const AdamOptions& options) {
  std::vector<torch::Tensor> values;
  for (auto& c : tuned.continuous) values.push_back(c.value);
  const auto weight = tuned.representation().dequantize();
  const auto gradients = torch::autograd::grad({weight}, values, {tuned.gradient});
  for (size_t i = 0; i < values.size(); ++i) {
    adam_step(tuned.continuous[i], gradients[i], step, rate, options);
  }
}

// The V step of one matrix; returns how many groups changed. Their momentum is spent: a code moves
// by the whole distance to its neighbor at once, and would be pushed on beyond it.
int64_t change_codes(TunedLinear& tuned, const torch::Tensor& direction,
                     const VStepOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto changed = v_step(tuned.representation(), direction, tuned.code_unit, options).changed;
  tuned.code_moments.first.view({-1, tuned.representation().coded().group_inputs()})
      .index_fill_(0, changed, 0);
  return changed.numel();
}

}  // namespace

void continuous_step(TunedBlocks& blocks, int64_t step, double rate, const AdamOptions& options) {
  for (auto& tuned : blocks.linears()) p_step(tuned, step, rate, options);
  for (auto& norm : blocks.norms()) {
    if (!norm.live.grad().defined()) continue;
    adam_step(norm, norm.live.grad().to(torch::kFloat32), step, rate * kNormRate, options);
  }
}

TuningStepResult tuning_step(Student& student, Decoder& teacher, const torch::Tensor& windows,
                             int64_t step, const TuningStepOptions& options) {
  BITSMITH_CHECK(options.track_codes || !options.change_codes);
  TuningStepResult result;
  student.clear_gradients();
  const auto tokens = static_cast<double>(windows.numel());
  for (int64_t first = 0; first < windows.size(0); first += options.micro_windows) {
    const int64_t count = std::min(options.micro_windows, windows.size(0) - first);
    result.kl += backward(student, teacher, windows.narrow(0, first, count), 1.0 / tokens) / tokens;
  }
  if (!std::isfinite(result.kl)) return result;

  double weights = 0;
  for (auto& tuned : student.linears()) {
    if (!options.track_codes) break;
    const auto direction =
        tuned.code_moments.direction(tuned.representation().to_code_space(tuned.gradient), step,
                                     torch::kBFloat16, options.code_adam);
    if (!options.change_codes) continue;
    result.changed += change_codes(tuned, direction, options.v);
    result.update_power += direction.square().sum().item<double>();
    weights += static_cast<double>(direction.numel());
  }
  if (weights > 0) result.update_power /= weights;
  continuous_step(student, step, options.learning_rate, options.adam);
  student.refresh();
  return result;
}

}  // namespace bitsmith
