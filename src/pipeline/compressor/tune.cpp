#include "pipeline/compressor/tune.h"

#include <algorithm>

#include "base/error.h"
#include "compressor/model/torch_threads.h"
#include "pipeline/compressor/command_line.h"

namespace bitsmith {
namespace {

// Self-generated text for a whole run; more tokens than that repeat it.
int64_t default_generated_tokens(const TuneOptions& options) {
  return options.tokens > 0 ? std::min<int64_t>(options.tokens, 131072) : kDefaultGeneratedTokens;
}

// How much of the teacher a run sees is a part of its request.
void settle_teacher_cache(TuneOptions& options) {
  if (options.teacher_cache.empty()) {
    if (options.teacher_top_k > 0)
      throw UsageError("--teacher-top-k is of --teacher-cache DIR: give both");
    return;
  }
  if (!options.loss.needs_teacher())
    throw UsageError("--teacher-cache: --loss ce never asks the teacher; drop one of the two");
  if (options.teacher_top_k == 0) options.teacher_top_k = kDefaultTopK;
}

std::string less_memory(const TuneOptions& options) {
  return concat("fewer tokens a forward pass (--micro-tokens",
                options.has_passes() ? ") or of a pass over the blocks (--pass-tokens" : "",
                ") need less, so does --optimizer-state 8bit, and --offload-optimizer keeps that "
                "on disk");
}

}  // namespace

TuneResult tune(const TuneJob& job, const RunContext& context) {
  TuneOptions options = job.options;
  options.seed = context.seed;
  if ((options.tokens > 0) == (options.minutes > 0))
    throw UsageError("say how long to tune: --tokens N (reproducible) or --minutes M");
  settle_teacher_cache(options);
  if (context.communicator->first()) check_work_folder(job.out, job.force);
  set_torch_threads(context.threads);
  const auto student = ModelFiles::open(job.quantized), teacher = ModelFiles::open(job.teacher);
  TrainingDataOptions data = job.data;
  if (data.files.empty() && data.tokens == 0) data.tokens = default_generated_tokens(options);
  check_tune_request(*student, *teacher, options, window_length(*teacher, data),
                     less_memory(options), context);
  const OrderedJson request = {{"command", "tune"},
                               {"data", training_data_request(*teacher, data, context.seed)}};
  WorkFolder work(job.out, job.force, tune_request(*student, *teacher, options, request),
                  *context.communicator);
  work.note("command_line", command_line({"tune", "QUANTIZED", "--teacher", "MODEL"},
                                         {option_words(job.options),
                                          training_data_words(job.data, "--data-tokens")},
                                         context.seed));
  TokenDataset dataset;
  if (!work.published()) dataset = load_training_data(*teacher, data, context);
  return tune_model(student, teacher, dataset, options, work, work.log("tune"), context);
}

}  // namespace bitsmith
