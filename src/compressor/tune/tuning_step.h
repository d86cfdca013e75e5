// One step of tuning (PV-Tuning, Malinovskii et al. 2024, algorithm 3). One gradient of the dense
// weights serves both halves: the student's code rules (V), and by the chain rule the P step.
#pragma once
#include "compressor/torch.h"
#include "compressor/tune/student.h"

namespace bitsmith {

struct TuningStepOptions {
  // Windows a forward and backward pass: bounds the activations' memory, changes no result but its
  // rounding.
  int64_t micro_windows = 1;
  // Of the P step, in units of each tensor's own root mean square, before the run's falling rate.
  double learning_rate = 0.0;
  AdamOptions adam;  // of the P step
  // No P step in a step that searches codes: its gradient only goes into the moments.
  bool alternate = false;
};

struct TuningStepResult {
  double kl = 0;  // mean of the windows before the step, nats a token
  // Sum over the matrices, power as their mean by size; nothing in a step that searched no codes.
  std::optional<CodeChange> codes;
};

// Step number at.step on `windows` [n, length] int64 token ids; `teacher` and the student have one
// dtype. When the KL is not finite, nothing is changed.
TuningStepResult tuning_step(Student& student, Decoder& teacher, const torch::Tensor& windows,
                             const RunPosition& at, const TuningStepOptions& options);

}  // namespace bitsmith
