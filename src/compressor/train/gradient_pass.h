// The forward and backward passes of a training step.
#pragma once
#include "compressor/train/loss_options.h"
#include "compressor/train/student_pass.h"
#include "compressor/train/teacher.h"
#include "compressor/train/tuned_blocks.h"

namespace bitsmith {

// Mean loss over `windows`, nats a token, in micro-batches of `micro_windows`. `tuned` are the
// student's blocks; their gradients are those of this mean afterwards. A cross-entropy alone never
// asks the teacher. `kept` changes memory and time alone. Several processes share the micro-batches
// of the same windows: each has the gradients of what it owns then, to the bit as one process has
// them. Collective.
double gradient_pass(TunedBlocks& tuned, Decoder& student, Teacher& teacher,
                     const TrainingWindows& windows, int64_t micro_windows,
                     const LossOptions& loss = {}, KeptActivations kept = KeptActivations::kAll);

}  // namespace bitsmith
