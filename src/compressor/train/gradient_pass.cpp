#include "compressor/train/gradient_pass.h"

#include <algorithm>

#include "compressor/train/loss.h"
#include "compressor/train/step_times.h"

namespace bitsmith {
namespace {

// One micro-batch; returns its summed loss and adds its gradients.
double backward(TunedBlocks& tuned, Decoder& student, Teacher& teacher,
                const TrainingWindows& windows, const LossOptions& options, double grad_scale) {
  std::unique_ptr<TeacherRows> target;
  if (options.needs_teacher()) {
    const TimedPart timed(StepPart::kTeacher);
    target = teacher.rows(windows);
  }
  const auto hidden = [&] {
    const TimedPart timed(StepPart::kStudent);
    return student.hidden_states(windows.ids).flatten(0, 1);
  }();
  const auto head = student.head();
  const auto loss = [&] {
    const TimedPart timed(StepPart::kLoss);
    return training_loss(options, target.get(), next_tokens(windows.ids), hidden.detach(), head,
                         true, grad_scale);
  }();
  const TimedPart timed(StepPart::kBackward);
  // A head that is the embedding too gets the gradient of that use by the backward pass.
  if (loss.grad_head.defined()) {
    head.weight.mutable_grad() = loss.grad_head.to(head.weight.dtype());
  }
  hidden.backward(loss.grad_hidden);
  tuned.collect_gradients();
  return loss.sum;
}

}  // namespace

double gradient_pass(TunedBlocks& tuned, Decoder& student, Teacher& teacher,
                     const TrainingWindows& windows, int64_t micro_windows,
                     const LossOptions& loss) {
  {
    const TimedPart timed(StepPart::kBackward);
    tuned.clear_gradients();
  }
  const auto tokens = static_cast<double>(windows.ids.numel());
  double mean = 0;
  for (int64_t first = 0; first < windows.count(); first += micro_windows) {
    const auto micro = windows.narrow(first, std::min(micro_windows, windows.count() - first));
    mean += backward(tuned, student, teacher, micro, loss, 1.0 / tokens) / tokens;
  }
  return mean;
}

}  // namespace bitsmith
