// The whole of `bitsmith tune`: a quantised directory and its teacher in, a better directory of the
// same representation out.
#pragma once
#include <filesystem>
#include <memory>

#include "base/json.h"
#include "compressor/calibration/token_dataset.h"
#include "compressor/tune/tune_options.h"
#include "format/quantized_checkpoint.h"

namespace bitsmith {

// Refuses before any work: an existing OUT without `force`, another architecture or vocabulary than
// the teacher's, nothing to tune, no validation windows, too little memory. State lives in
// OUT.partial; the same command resumes there. The step log is appended to OUT.tune.jsonl. `recipe`
// (data, command) goes into bitsmith.json beside that of the quantisation.
TuneResult tune_model(std::shared_ptr<const ModelFiles> quantised,
                      std::shared_ptr<const ModelFiles> teacher, const TokenDataset& data,
                      const TuneOptions& options, const std::filesystem::path& out, bool force,
                      OrderedJson recipe);

}  // namespace bitsmith
