#include "pipeline/compressor/quantize.h"

#include "compressor/model/torch_threads.h"
#include "pipeline/compressor/command_line.h"

namespace bitsmith {

QuantizeOutcome quantize(const QuantizeJob& job, const RunContext& context) {
  QuantizeModelOptions options = job.options;
  BlockFinetuneOptions finetune = job.finetune;
  options.linear.seed = finetune.seed = context.seed;
  set_torch_threads(context.threads);
  if (finetune.epochs > 0 && context.communicator->size() > 1)
    throw UsageError(
        "--finetune-epochs trains blocks in one process: start one, or tune the result instead");
  if (context.communicator->first()) check_work_folder(job.out, job.force);
  const auto files = ModelFiles::open(job.model);
  const bool to_target = job.budget.asked();
  if (to_target) {
    check_budget_request(*files, options, job.budget, context);
  } else {
    check_quantize_request(*files, options, context);
  }
  const bool calibrates = to_target || needs_calibration(*files, options);
  const bool wants_data = !job.data.files.empty() || finetune.epochs > 0 || calibrates;
  OrderedJson request = {{"command", "quantize"}, {"data", "none"}};
  if (wants_data) request["data"] = training_data_request(*files, job.data, context.seed);
  BlockFinetuner finetuner;
  if (finetune.epochs > 0) {
    request["finetune"] = options_json(finetune);
    finetuner = block_finetuner(finetune, context);
  }
  WorkFolder work(job.out, job.force,
                  to_target ? budget_request(*files, options, job.budget, request)
                            : quantize_request(*files, options, request),
                  *context.communicator);
  std::vector<std::string> words = option_words(job.options);
  if (to_target) words = without_option(words, "representation");
  work.note("command_line",
            command_line({"quantize", "MODEL"},
                         {words, option_words(job.budget), option_words(job.finetune),
                          training_data_words(job.data, "--calibration-tokens")},
                         context.seed));
  TokenDataset dataset;
  if (wants_data && !work.published()) {
    // Before text is written for minutes.
    const int64_t length = window_length(*files, job.data);
    if (to_target) {
      check_budget_resources(*files, options, job.budget, work, job.data.tokens, length, finetuner,
                             *context.communicator);
    } else {
      check_resources(*files, options, work, job.data.tokens, length, finetuner,
                      *context.communicator);
    }
    dataset = load_training_data(*files, job.data, context);
    if (calibrates) warn_of_few_tokens(*files, dataset);
  }
  QuantizeOutcome outcome;
  if (to_target) {
    BudgetOutcome made = quantize_to_budget(files, dataset, options, job.budget, work,
                                            work.log("quantize"), context, finetuner);
    outcome.result = std::move(made.result);
    outcome.budget = std::move(made.budget);
  } else {
    outcome.result =
        quantize_model(files, dataset, options, work, work.log("quantize"), context, finetuner);
  }
  outcome.tokens = dataset.train.numel();
  outcome.windows = dataset.train.size(0);
  return outcome;
}

}  // namespace bitsmith
