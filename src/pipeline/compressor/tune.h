// PV-Tuning of a quantized directory against its original.
#pragma once
#include <filesystem>

#include "base/run_context.h"
#include "compressor/tune/tune_model.h"
#include "pipeline/compressor/training_data.h"

namespace bitsmith {

struct TuneJob {
  std::filesystem::path quantized, teacher, out;
  bool force = false;  // replace an existing `out` that Bitsmith made
  // Windows of tuning are shorter than those of calibration: more of them fit into a step.
  TrainingDataOptions data = {.default_context = 512};
  TuneOptions options;  // the context's seed is taken
};

// The result is in job.out. An unfinished run of the same job is gone on with. Throws UsageError,
// Error, and Interrupted with its state saved. The ranks of the context do it together.
TuneResult tune(const TuneJob& job, const RunContext& context);

}  // namespace bitsmith
