// Fine-tuning of one quantized block against the outputs of the original one (AQLM, Egiazarian et
// al. 2024, section 3.3): codebooks, scales, norms and biases move, codes stay.
#pragma once
#include <cstdint>

#include "base/options.h"
#include "base/run_context.h"
#include "compressor/quantize_model/block_finetuner.h"

namespace bitsmith {

struct BlockFinetuneOptions {
  // Epochs over the windows of each block at most; 0: no fine-tuning. Helps most at about 2 bits,
  // and takes longer than quantizing does.
  // Default: 0
  int epochs = 0;

  // Stops after this many epochs without a better validation error.
  // Default: 2
  int patience = 2;

  // Adam's step, in units of each tensor's root mean square.
  // Default: 0.001
  double learning_rate = 0.001;

  // Share of it that is left at the end.
  // Default: 0.1
  double final_rate = 0.1;

  // Tokens of a step.
  // Default: 4096
  int64_t batch_tokens = 4096;

  // Of the windows, never trained on.
  // Default: 0.1
  double validation_share = 0.1;

  // Of the order of windows.
  // Default: 0
  uint64_t seed = 0;

  template <typename Self, typename Visitor>
  static void visit(Self& o, Visitor& v);
};

template <typename Self, typename Visitor>
void BlockFinetuneOptions::visit(Self& o, Visitor& v) {
  v(Option{.key = "epochs",
           .help = "After each block is quantized, train its codebooks, scales and norms on the "
                   "original block's outputs, for this many epochs at most (0: not)",
           .name = "finetune-epochs",
           .range = {{0, 1000}}},
    o.epochs);
  v(Option{.key = "patience"}, o.patience);
  v(Option{.key = "learning_rate",
           .help = "Its step, in units of each tensor's root mean square",
           .name = "finetune-rate",
           .range = {{0, 1}}},
    o.learning_rate);
  v(Option{.key = "final_rate"}, o.final_rate);
  v(Option{.key = "batch_tokens"}, o.batch_tokens);
  v(Option{.key = "validation_share"}, o.validation_share);
  v(Option{.key = "seed"}, o.seed);
}

// The error is mean |block(x) - y|^2 over mean |y - x|^2: what the block adds to the residual
// stream. Batches are drawn anew each epoch; Adam's rate falls linearly; the state with the least
// validation error, as the file holds it, is what is kept. Throws Interrupted between two
// batches. `context`'s flag outlives the function.
BlockFinetuner block_finetuner(const BlockFinetuneOptions& options, const RunContext& context);

}  // namespace bitsmith
