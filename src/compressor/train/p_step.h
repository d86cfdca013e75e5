// The P step of PV-Tuning: everything continuous moves, codes stay.
#pragma once
#include "compressor/train/p_step_options.h"
#include "compressor/train/tuned_blocks.h"

namespace bitsmith {

// One step, number `step` from 1, from the gradients that were collected: each dense gradient
// goes through dequantize() to codebooks, scales and zero points; norms and biases have their own.
// Those that this rank owns.
// `rate` in units of each tensor's root mean square, at the start or (LAMB) now.
void p_step(TunedBlocks& blocks, int64_t step, double rate, const PStepOptions& options);

}  // namespace bitsmith
