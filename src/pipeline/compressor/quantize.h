// One-shot quantization of a model, from its text to a directory: to a representation, or to a
// target.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/run_context.h"
#include "compressor/budget/budget.h"
#include "compressor/tune/block_finetune.h"
#include "pipeline/compressor/training_data.h"

namespace bitsmith {

struct QuantizeJob {
  std::filesystem::path model, out;
  bool force = false;  // replace an existing `out` that Bitsmith made
  TrainingDataOptions data;
  QuantizeModelOptions options;   // linear.seed: the context's is taken
  BudgetOptions budget;           // a target in place of options.representation
  BlockFinetuneOptions finetune;  // the same; 0 epochs: not
};

struct QuantizeOutcome {
  std::optional<QuantizeModelResult> result;  // none where only a plan was asked for
  OrderedJson budget;                         // see BudgetOutcome; null without a target
  int64_t tokens = 0, windows = 0;            // of calibration; 0 where an earlier run had finished
};

// The result is in job.out. An unfinished run of the same job is gone on with. Throws UsageError,
// Error, and Interrupted with its state saved. The ranks of the context do it together; on others
// than the first the result is empty.
QuantizeOutcome quantize(const QuantizeJob& job, const RunContext& context);

}  // namespace bitsmith
