#include "compressor/train/p_step.h"

#include <vector>

#include "base/name_table.h"
#include "compressor/train/step_times.h"

namespace bitsmith {
namespace {

constexpr NameTable<Optimizer, 2> kOptimizers = {
    "optimizer", {{Optimizer::kAdam, "adam"}, {Optimizer::kLamb, "lamb"}}};

// What acts on whole channels, as norms and real signs of rotations do, is few: it moves at this
// share of the learning rate.
constexpr double kChannelRate = 0.05;

// What the direction is multiplied by, before the rate.
double step_unit(const Trainable& trainable, const torch::Tensor& direction, Optimizer optimizer) {
  if (optimizer == Optimizer::kAdam) return trainable.unit;
  const double size = trainable.value.norm().item<double>();
  const double length = direction.norm().item<double>();
  return size > 0 && length > 0 ? size / length : trainable.unit;
}

void optimizer_step(Trainable& trainable, const torch::Tensor& gradient, int64_t step, double rate,
                    const PStepOptions& options) {
  const torch::NoGradGuard no_grad;
  const TimedPart timed(StepPart::kOptimizer);
  auto direction = trainable.adam.direction(gradient, step, options.adam).view_as(trainable.value);
  if (trainable.of_channels)
    rate *= kChannelRate;
  else if (options.weight_decay > 0)
    direction.add_(trainable.value, options.weight_decay / trainable.unit);
  trainable.value.sub_(direction, rate * step_unit(trainable, direction, options.optimizer));
}

void matrix_step(TunedLinear& tuned, int64_t step, double rate, const PStepOptions& options) {
  const TimedPart timed(StepPart::kContinuous);
  std::vector<torch::Tensor> values;
  for (auto& c : tuned.continuous) values.push_back(c.value);
  const auto weight = tuned.representation().dequantize();
  const auto gradients = torch::autograd::grad({weight}, values, {tuned.gradient});
  for (size_t i = 0; i < values.size(); ++i) {
    optimizer_step(tuned.continuous[i], gradients[i], step, rate, options);
  }
}

}  // namespace

std::string option_text(Optimizer optimizer) { return kOptimizers.name(optimizer); }
void parse_option(const std::string& text, Optimizer& optimizer) {
  optimizer = kOptimizers.parse(text);
}

void p_step(TunedBlocks& blocks, int64_t step, double rate, const PStepOptions& options) {
  for (auto& tuned : blocks.own_linears()) matrix_step(tuned, step, rate, options);
  for (auto& norm : blocks.own_norms()) {
    if (!norm.gradient.defined()) continue;
    optimizer_step(norm, norm.gradient, step, rate, options);
  }
}

}  // namespace bitsmith
