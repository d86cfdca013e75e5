// bitsmith tune: PV-Tuning of a quantized model.
#include "compressor/model/torch_threads.h"
#include "compressor/tune/tune_model.h"

#include <cstdio>
#include <memory>

#include "apps/command.h"
#include "apps/training_data.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"

namespace bitsmith {
namespace {

// Windows of tuning are shorter than those of calibration: more of them fit into a step.
TrainingDataOptions tuning_data() {
  TrainingDataOptions data;
  data.default_context = 512;
  return data;
}

struct TuneCommand {
  CommonOptions common;
  TrainingDataOptions data = tuning_data();
  TuneOptions options;
  std::string quantized, teacher, out;
  bool force = false;

  void run() {
    if ((options.tokens > 0) == (options.minutes > 0)) {
      throw UsageError("say how long to tune: --tokens N (reproducible) or --minutes M");
    }
    find_code_rule(options.strategy);
    options.seed = common.seed;
    check_work_folder(out, force);
    const int threads = resolved_threads(common);
    set_torch_threads(threads);
    const auto student_files = ModelFiles::open(quantized);
    const auto teacher_files = ModelFiles::open(teacher);
    if (data.files.empty() && data.tokens == 0) data.tokens = default_generated_tokens();
    check_tune_request(*student_files, *teacher_files, options, threads);
    const OrderedJson request = {
        {"command", "tune"}, {"data", training_data_request(*teacher_files, data, common.seed)}};
    WorkFolder work(out, force, tune_request(*student_files, *teacher_files, options, request));
    TokenDataset dataset;
    if (!work.published()) dataset = load_training_data(*teacher_files, data, threads, common.seed);
    const TuneResult r =
        tune_model(student_files, teacher_files, dataset, options, work, work.log("tune"));

    const OrderedJson json = {{"out", out},
                              {"strategy", options.strategy},
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
    char text[500];
    std::snprintf(
        text, sizeof(text),
        "%s: KL to the teacher on held-out windows %.4f -> %.4f (best at step %ld of %ld)\n"
        "%ld tokens in %s, %.0f tokens/s in %s; codes changed %.2f %%; peak memory %s",
        out.c_str(), r.kl_before, r.kl_after, static_cast<long>(r.best_step),
        static_cast<long>(r.steps), static_cast<long>(r.tokens), format_duration(r.seconds).c_str(),
        r.tokens_per_second, r.dtype.c_str(), 100 * r.codes_changed,
        format_bytes(static_cast<double>(peak_memory_bytes())).c_str());
    print_result(common, json, text);
  }

  // Self-generated text for a whole run; more tokens than that repeat it.
  int64_t default_generated_tokens() const {
    return options.tokens > 0 ? std::min<int64_t>(options.tokens, 131072) : 65536;
  }
};

}  // namespace

void add_tune(CLI::App& app) {
  auto command = std::make_shared<TuneCommand>();
  CLI::App& sub = *app.add_subcommand(
      "tune",
      "PV-Tuning: make a quantized model more like its original, by training codes and continuous\n"
      "parameters on the original's next-token distributions. The size does not change.\n"
      "  bitsmith tune out/aq2 --teacher MODEL --data text.txt --minutes 20 -o out/aq2-pv");
  sub.add_option("QUANTIZED", command->quantized, "Directory made by bitsmith quantize")
      ->required();
  sub.add_option("--teacher", command->teacher, "The original model")->required();
  sub.add_option("-o,--out", command->out, "Result directory; work in progress is OUT.partial")
      ->required();
  sub.add_flag("--force", command->force, "Replace an existing OUT");
  auto& o = command->options;
  sub.add_option("--strategy", o.strategy, code_rule_help())->capture_default_str();
  sub.add_option("--tokens", o.tokens, "Length of the run in training tokens: reproducible");
  sub.add_option("--minutes", o.minutes, "Length of the run in minutes");
  add_training_data_options(sub, command->data, "--data-tokens");
  sub.add_option("--batch-tokens", o.batch_tokens, "Tokens a step")
      ->check(at_least(1))
      ->capture_default_str();
  sub.add_option("--micro-tokens", o.micro_tokens, "Tokens a forward pass: bounds memory")
      ->check(at_least(1))
      ->capture_default_str();
  sub.add_option("--learning-rate", o.learning_rate,
                 "Step of codebooks and scales, in units of each tensor's root mean square")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  sub.add_option("--final-rate", o.final_rate, "Share of the rates that is left at the end")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  sub.add_option("--code-step", o.code.pv.step,
                 "pv: length of the update whose nearest codes are searched, in units of each\n"
                 "matrix's distance to the original (root mean square a weight)")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
  sub.add_option("--trust-ratio", o.code.pv.trust_ratio,
                 "pv: largest change of a matrix in one V step, in the same units")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
  sub.add_option("--latent-rate", o.code.straight_through.rate,
                 "ste: step of the latent weights, in the same units")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
  sub.add_option("--code-momentum", o.code.adam.beta1,
                 "pv, ste: momentum of the gradient that V steps use: averages it over about 2 / "
                 "(1 - it) steps")
      ->check(CLI::Range(0.0, 0.9999))
      ->capture_default_str();
  sub.add_option("--v-interval", o.code.schedule.interval, "Steps from one V step to the next")
      ->check(at_least(1))
      ->capture_default_str();
  sub.add_option("--v-start", o.code.schedule.start, "Share of the run before the first V step")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  sub.add_option("--dtype", o.dtype, "Arithmetic of the passes: auto (measured), float32, bfloat16")
      ->capture_default_str();
  sub.add_option("--checkpoint-minutes", o.checkpoint_minutes, "Time between saved states")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  add_common_options(sub, command->common);
  sub.callback([command] { command->run(); });
}

}  // namespace bitsmith
