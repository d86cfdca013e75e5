// One step of tuning (PV-Tuning, Malinovskii et al. 2024, algorithm 3). One gradient of the dense
// weights serves both halves: by the chain rule the P step, then the student's code rules (V).
#pragma once
#include "compressor/train/loss_options.h"
#include "compressor/train/p_step_options.h"
#include "compressor/train/step_times.h"
#include "compressor/train/student_pass.h"
#include "compressor/train/teacher.h"
#include "compressor/tune/student.h"

namespace bitsmith {

struct TuningStepOptions {
  // Windows a forward and backward pass: bounds the activations' memory, changes no result but its
  // rounding.
  int64_t micro_windows = 1;
  // Changes memory and time alone.
  KeptActivations kept = KeptActivations::kAll;
  // Of the P step, in units of each tensor's own root mean square, before the run's falling rate.
  double learning_rate = 0.0;
  PStepOptions p_step = {};
  // Longer gradients are scaled to this norm; 0: none are.
  double max_gradient_norm = 0;
  LossOptions loss = {};
  // That of the code rules. Where P and V steps alternate, continuous parameters stay in a step
  // that searches codes: its gradient only goes into their moments.
  VSchedule schedule = {};
};

struct TuningStepResult {
  double loss = 0;                      // mean of the windows before the step, nats a token
  std::optional<double> gradient_norm;  // before scaling, where there is a largest
  // Sum over the matrices, power as their mean by size; nothing in a step that searched no codes.
  std::optional<CodeChange> codes;
  StepSeconds seconds = {};  // of each part; zeros where the loss is not finite
};

// Step number at.step on `windows`. When the loss is not finite, nothing is changed. Ranks share
// the micro-batches, and each takes the steps of what it owns; all have the same values afterwards.
// Collective.
TuningStepResult tuning_step(Student& student, Teacher& teacher, const TrainingWindows& windows,
                             const RunPosition& at, const TuningStepOptions& options);

}  // namespace bitsmith
