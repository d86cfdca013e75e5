#include "compressor/train/gradient_pass.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "compressor/train/gradient_exchange.h"
#include "compressor/train/loss.h"
#include "compressor/train/step_times.h"

namespace bitsmith {
namespace {

// One micro-batch; returns its summed loss and leaves its gradients at the leaves, or to an
// exchange.
double backward(Decoder& student, Teacher& teacher, const TrainingWindows& windows,
                const LossOptions& options, KeptActivations kept, double grad_scale) {
  std::unique_ptr<TeacherRows> target;
  if (options.needs_teacher()) {
    const TimedPart timed(StepPart::kTeacher);
    target = teacher.rows(windows);
  }
  StudentPass pass = [&] {
    const TimedPart timed(StepPart::kStudent);
    return StudentPass(student, windows.ids, kept);
  }();
  const auto head = student.head();
  const auto loss = [&] {
    const TimedPart timed(StepPart::kLoss);
    return training_loss(options, target.get(), next_tokens(windows.ids), pass.hidden(), head, true,
                         grad_scale);
  }();
  const TimedPart timed(StepPart::kBackward);
  // A head that is the embedding too gets the gradient of that use by the backward pass.
  if (loss.grad_head.defined()) {
    head.weight.mutable_grad() = loss.grad_head.to(head.weight.dtype());
  }
  pass.backward(loss.grad_hidden);
  return loss.sum;
}

}  // namespace

double gradient_pass(TunedBlocks& tuned, Decoder& student, Teacher& teacher,
                     const TrainingWindows& windows, int64_t micro_windows, const LossOptions& loss,
                     KeptActivations kept) {
  {
    const TimedPart timed(StepPart::kBackward);
    tuned.clear_gradients();
  }
  const auto tokens = static_cast<double>(windows.ids.numel());
  Communicator& ranks = tuned.communicator();
  const int64_t micro_batches = (windows.count() + micro_windows - 1) / micro_windows;
  std::vector<double> losses(static_cast<size_t>(micro_batches));
  GradientExchange exchange(tuned);
  for (int64_t round = 0; round < micro_batches; round += ranks.size()) {
    const int64_t own = round + ranks.rank();
    exchange.begin(static_cast<int>(std::min<int64_t>(ranks.size(), micro_batches - round)));
    if (own < micro_batches) {
      const int64_t first = own * micro_windows;
      const auto micro = windows.narrow(first, std::min(micro_windows, windows.count() - first));
      losses[static_cast<size_t>(own)] =
          backward(student, teacher, micro, loss, kept, 1.0 / tokens) / tokens;
    }
    const TimedPart timed(StepPart::kBackward);
    exchange.finish();
  }
  ranks.sum(losses);
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

}  // namespace bitsmith
