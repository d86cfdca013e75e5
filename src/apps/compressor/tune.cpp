// bitsmith tune: PV-Tuning of a quantized model.
#include <memory>

#include "apps/cli_options.h"
#include "apps/command.h"
#include "apps/compressor/commands.h"
#include "apps/compressor/ranks.h"
#include "apps/compressor/training_data_options.h"
#include "apps/compressor_help.h"
#include "base/files.h"
#include "base/log.h"
#include "pipeline/compressor/tune.h"

namespace bitsmith {
namespace {

struct TuneCommand {
  CommonOptions common;
  TuneJob job;

  void run(const RunContext& context) const {
    const TuneResult r = tune(job, context);
    if (!context.communicator->first()) return;
    const std::string out = job.out.string();
    const OrderedJson json = {{"out", out},
                              {"strategy", job.options.strategy},
                              {"kl_before", r.kl_before},
                              {"kl", r.kl_after},
                              {"tokens", r.tokens},
                              {"steps", r.steps},
                              {"best_step", r.best_step},
                              {"codes_changed", r.codes_changed},
                              {"dtype", r.dtype},
                              {"diverged", r.diverged},
                              {"seconds", r.seconds},
                              {"tokens_per_second", r.tokens_per_second},
                              {"peak_memory_bytes", peak_memory_bytes()}};
    const std::string text = format(
        "%s: KL to the teacher on held-out windows %.4f -> %.4f (best at step %ld of %ld)\n"
        "%ld tokens in %s, %.0f tokens/s in %s; codes changed %.2f %%; peak memory %s",
        out.c_str(), r.kl_before, r.kl_after, static_cast<long>(r.best_step),
        static_cast<long>(r.steps), static_cast<long>(r.tokens), format_duration(r.seconds).c_str(),
        r.tokens_per_second, r.dtype.c_str(), 100 * r.codes_changed,
        format_bytes(static_cast<double>(peak_memory_bytes())).c_str());
    print_result(common, json, text);
  }
};

}  // namespace

void add_tune(CLI::App& app) {
  auto command = std::make_shared<TuneCommand>();
  CLI::App& sub = *app.add_subcommand("tune", tune_help());
  sub.add_option("QUANTIZED", command->job.quantized, "Directory made by bitsmith quantize")
      ->required();
  sub.add_option("--teacher", command->job.teacher, "The original model")->required();
  sub.add_option("-o,--out", command->job.out, "Result directory; work in progress is OUT.partial")
      ->required();
  sub.add_flag("--force", command->job.force, "Replace an existing OUT");
  add_options(sub, command->job.options);
  add_training_data_options(sub, command->job.data, "--data-tokens");
  add_common_options(sub, command->common);
  sub.callback([command] {
    run_on_all_ranks(command->common, [&](const RunContext& context) { command->run(context); });
  });
}

}  // namespace bitsmith
