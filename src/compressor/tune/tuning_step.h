// One step of PV-Tuning (Malinovskii et al. 2024, algorithm 3). One gradient of the dense weights
// serves both halves: through Adam's moments the V step (codes), and by the chain rule the P step
// (codebooks, scales, zero points).
#pragma once
#include "compressor/torch.h"
#include "compressor/tune/student.h"
#include "compressor/tune/v_step.h"

namespace bitsmith {

// One Adam step of everything continuous, from the gradients that were collected: each dense
// gradient through dequantize() to codebooks and scales, and the norms' own. `rate` in units of
// each tensor's root mean square.
void continuous_step(TunedBlocks& blocks, int64_t step, double rate, const AdamOptions& options);

struct TuningStepOptions {
  int64_t micro_windows = 1;   // windows a forward and backward pass
  double learning_rate = 0.0;  // in units of each tensor's own root mean square
  bool track_codes = false;    // advance the moments of the dense gradient, which V steps use
  bool change_codes = false;   // take a V step; needs track_codes
  VStepOptions v;
  AdamOptions adam;       // of the P step
  AdamOptions code_adam;  // of the dense weights
};

struct TuningStepResult {
  double kl = 0;        // mean of the windows before the step, nats a token
  int64_t changed = 0;  // groups whose codes changed
  // Mean square of Adam's direction at a V step. Gradients of step t that are noise alone give
  // (1 - b)/(1 + b) (1 - b^2t)/(1 - b^t)^2, b the momentum of code_adam; one that never changes, 1.
  double update_power = 0;
};

// Step number `step` (1, 2, ...) on `windows` [n, length] int64 token ids; `teacher` and the
// student have one dtype. When the KL is not finite, nothing is changed.
TuningStepResult tuning_step(Student& student, Decoder& teacher, const torch::Tensor& windows,
                             int64_t step, const TuningStepOptions& options);

}  // namespace bitsmith
