// The whole of `bitsmith tune`: a quantized directory and its teacher in, a better directory of the
// same representation out.
#pragma once
#include <filesystem>
#include <memory>

#include "base/json.h"
#include "base/run_context.h"
#include "compressor/calibration/token_dataset.h"
#include "compressor/tune/tune_options.h"
#include "format/quantized_checkpoint.h"
#include "format/work_folder.h"

namespace bitsmith {

// All that can be refused without data and without the work folder: another architecture or
// vocabulary than the teacher's, nothing to tune, an unknown dtype, too little memory, weights that
// are not finite (all are read once, by the first rank). Where a run fits the memory only with
// recompute_activations, sets that and says so. What one rank refuses all refuse. `length`: tokens
// a window. `less_memory`: what the user of this command can do where memory is too little.
// Interrupted. Collective.
void check_tune_request(const ModelFiles& quantized, const ModelFiles& teacher,
                        TuneOptions& options, int64_t length, const std::string& less_memory,
                        const RunContext& context);

// What a work folder keeps of the request: `request` (command, data) with models and options.
OrderedJson tune_request(const ModelFiles& quantized, const ModelFiles& teacher,
                         const TuneOptions& options, OrderedJson request);

// Where `work` was published by an earlier run of the same request, its result; else tunes. State
// lies in `work`; the same request goes on with it. Steps are appended to `log` (JSON lines).
// UsageError without validation windows. The ranks of the context do it together (trainer.h).
TuneResult tune_model(std::shared_ptr<const ModelFiles> quantized,
                      std::shared_ptr<const ModelFiles> teacher, const TokenDataset& data,
                      const TuneOptions& options, WorkFolder& work,
                      const std::filesystem::path& log, const RunContext& context = {});

}  // namespace bitsmith
