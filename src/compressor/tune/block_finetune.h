// Fine-tuning of one quantized block against the outputs of the original one (AQLM, Egiazarian et
// al. 2024, section 3.3): codebooks, scales, norms and biases move, codes stay.
#pragma once
#include <cstdint>

#include "base/json.h"
#include "compressor/quantize/block_finetuner.h"

namespace bitsmith {

struct BlockFinetuneOptions {
  int epochs = 0;                // at most; 0: no fine-tuning
  int patience = 2;              // stops after this many epochs without a better validation error
  double learning_rate = 0.001;  // in units of each tensor's root mean square
  double final_rate = 0.1;       // share of it that is left at the end
  int64_t batch_tokens = 4096;
  double validation_share = 0.1;  // of the windows, never trained on
  uint64_t seed = 0;
};

OrderedJson to_json(const BlockFinetuneOptions& options);

// The error is mean |block(x) - y|^2 over mean |y - x|^2: what the block adds to the residual
// stream. Batches are drawn anew each epoch; Adam's rate falls linearly; the state with the least
// validation error, as the file holds it, is what is kept. SIGINT throws Interrupted.
BlockFinetuner block_finetuner(const BlockFinetuneOptions& options);

}  // namespace bitsmith
