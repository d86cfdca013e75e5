#include "compressor/tune/tuning_step.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "compressor/train/gradient_pass.h"
#include "compressor/train/p_step.h"
#include "compressor/train/step_times.h"

namespace bitsmith {
namespace {

// Not where codes stay, or are left to passes over the blocks.
bool steps_search_codes(TunedBlocks& blocks) {
  return blocks.communicator().any(std::ranges::any_of(blocks.linears(), [](const auto& tuned) {
    return tuned.rule && !tuned.rule->mean_gradient().defined();
  }));
}

// Of the matrices of all ranks.
std::optional<CodeChange> move_codes(TunedBlocks& blocks, const RunPosition& at) {
  const TimedPart timed(StepPart::kCodes);
  std::array<double, 3> sums = {};
  auto& [changed, power, weights] = sums;
  for (auto& tuned : blocks.own_linears()) {
    if (!tuned.rule) continue;
    const auto change = tuned.rule->step(tuned.representation().coded(), tuned.code_gradient(), at);
    if (!change) continue;
    const auto size = static_cast<double>(tuned.gradient.numel());
    changed += static_cast<double>(change->changed);
    power += size * change->update_power;
    weights += size;
  }
  blocks.communicator().sum(sums);
  if (weights == 0) return {};
  return CodeChange{static_cast<int64_t>(changed), power / weights};
}

}  // namespace

TuningStepResult tuning_step(Student& student, Teacher& teacher, const TrainingWindows& windows,
                             const RunPosition& at, const TuningStepOptions& options) {
  StepClock clock;
  TuningStepResult result;
  result.loss = gradient_pass(student, student.decoder(), teacher, windows, options.micro_windows,
                              options.loss, options.kept);
  if (!std::isfinite(result.loss)) return result;
  if (options.max_gradient_norm > 0) {
    result.gradient_norm = student.gradient_norm();
    if (*result.gradient_norm > options.max_gradient_norm)
      student.scale_gradients(options.max_gradient_norm / *result.gradient_norm);
  }
  const VSchedule& schedule = options.schedule;
  const bool searches = schedule.due(at) && steps_search_codes(student);
  const bool codes_alone = schedule.alternate && searches;
  p_step(student, at.step, codes_alone ? 0 : at.rate * options.learning_rate, options.p_step);
  const auto codes = searches ? student.own_codes() : std::vector<torch::Tensor>();
  result.codes = move_codes(student, at);
  student.share_values();
  if (searches) student.share_codes(codes);
  {
    const TimedPart timed(StepPart::kDequantize);
    student.refresh();
  }
  result.seconds = clock.seconds();
  return result;
}

}  // namespace bitsmith
