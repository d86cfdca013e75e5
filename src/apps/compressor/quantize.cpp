// bitsmith quantize: one-shot quantization of a model, block by block.
#include <memory>
#include <vector>

#include "apps/cli_options.h"
#include "apps/command.h"
#include "apps/compressor/commands.h"
#include "apps/compressor/ranks.h"
#include "apps/compressor/training_data_options.h"
#include "apps/compressor_help.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "compressor/quantize_model/model_card.h"
#include "pipeline/compressor/quantize.h"

namespace bitsmith {
namespace {

constexpr size_t kPrintedLinears = 15;

struct QuantizeCommand {
  CommonOptions common;
  QuantizeJob job;
  const CLI::Option* representation = nullptr;

  // CLI11 refuses a representation beside a target, and two targets.
  void check_target() const {
    const BudgetOptions& budget = job.budget;
    if (budget.asked()) return;
    if (representation->empty())
      throw UsageError(
          "give what the matrices shall become, --representation R, or a target: --target-size, "
          "--target-bits or --target-kl");
    if (budget.plan_only || !budget.measurements.empty() || !option_words(budget).empty())
      throw UsageError(
          "--candidates, --embedding-candidates, --budget-windows, --budget-measured, "
          "--measurements and --plan-only go with a target, not with --representation");
  }

  void run(const RunContext& context) const {
    check_target();
    const QuantizeOutcome outcome = quantize(job, context);
    if (!context.communicator->first()) return;
    if (outcome.result) return report(outcome, *outcome.result);
    print_result(common, {{"budget", outcome.budget}},
                 concat(budget_table(outcome.budget), "\n", budget_line(outcome.budget),
                        ". The same command without --plan-only quantizes by it."));
  }

  void report(const QuantizeOutcome& outcome, const QuantizeModelResult& result) const {
    const std::string out = job.out.string();
    const LinearSummary* worst = nullptr;
    double mean = 0;
    for (const LinearSummary& linear : result.linears) {
      mean += linear.relative_error / static_cast<double>(result.linears.size());
      if (!worst || linear.relative_error > worst->relative_error) worst = &linear;
    }
    OrderedJson json = {{"out", out},
                        {"representation", to_string(job.options.representation)},
                        {"bits", result.decoder_bits},
                        {"file_bits", result.file_bits},
                        {"file_bytes", result.file_bytes},
                        {"relative_error", mean},
                        {"worst_relative_error", worst->relative_error},
                        {"worst_module", worst->module},
                        {"tokens", outcome.tokens},
                        {"windows", outcome.windows},
                        {"seconds", result.seconds},
                        {"peak_memory_bytes", peak_memory_bytes()}};
    json.update(to_json(result.kl));
    std::string choices;
    if (job.budget.asked()) {
      json.erase("representation");
      json["budget"] = outcome.budget;
      choices = concat(budget_table(outcome.budget), "\n", budget_line(outcome.budget), "\n\n");
    }
    const std::string summary = format(
        "%.3f bits a decoder weight, %.3f a weight of the whole file, %s of weights\n"
        "mean relative error %.3g; took %s and %s of memory",
        result.decoder_bits, result.file_bits,
        format_bytes(static_cast<double>(result.file_bytes)).c_str(), mean,
        format_duration(result.seconds).c_str(),
        format_bytes(static_cast<double>(peak_memory_bytes())).c_str());
    print_result(common, json,
                 concat(choices, linear_table(result.linears, kPrintedLinears), "\n", out, ": ",
                        summary, result.kl.calibration ? "\n" + gap_line(result.kl) : ""));
  }
};

}  // namespace

void add_quantize(CLI::App& app) {
  auto command = std::make_shared<QuantizeCommand>();
  CLI::App& sub = *app.add_subcommand("quantize", quantize_help());
  QuantizeJob& job = command->job;
  sub.add_option("MODEL", job.model, "The original: Hugging Face directory or GGUF file")
      ->required();
  sub.add_option("-o,--out", job.out, "Result directory; work in progress is OUT.partial")
      ->required();
  sub.add_flag("--force", job.force, "Replace an existing OUT");
  add_options(sub, job.options);
  add_options(sub, job.budget);
  CLI::Option* representation = sub.get_option("--representation");
  representation->required(false);  // a target stands in its place
  command->representation = representation;
  std::vector<CLI::Option*> one_of = {representation};
  for (const char* target : {"--target-size", "--target-bits", "--target-kl"}) {
    for (CLI::Option* other : one_of) sub.get_option(target)->excludes(other);
    one_of.push_back(sub.get_option(target));
  }
  add_options(sub, job.finetune);
  add_training_data_options(sub, job.data, "--calibration-tokens");
  add_common_options(sub, command->common);
  sub.callback([command] {
    run_on_all_ranks(command->common, [&](const RunContext& context) { command->run(context); });
  });
}

}  // namespace bitsmith
