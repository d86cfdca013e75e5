// bitsmith compress: the whole pipeline, from a model to a smaller one and a table that judges it.
#include <chrono>
#include <cmath>
#include <memory>

#include "apps/command.h"
#include "apps/judge.h"
#include "apps/presets.h"
#include "apps/training_data.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "compressor/model/torch_threads.h"
#include "compressor/quantize/quantize_model.h"
#include "compressor/tune/tune_model.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

// Judging and writing at the end take about this share of the whole; tuning stops in time for them.
constexpr double kJudgingShare = 0.12;
// Quantizing shall take this share of the whole at most; fewer calibration tokens take less.
constexpr double kQuantizeShare = 0.6;
constexpr int64_t kFewestCalibrationTokens = 8192;
// Of the windows, held out to choose the best state and to judge the result.
constexpr double kHeldOutShare = 0.15;
constexpr double kShortestTuning = 0.5;  // minutes; less is not worth loading the models for

// Takes the second half of the held-out windows away: the first half chooses the best state of
// tuning, the second judges it.
torch::Tensor take_half(torch::Tensor& validation) {
  const int64_t kept = validation.size(0) / 2;
  const auto taken = validation.narrow(0, kept, validation.size(0) - kept).contiguous();
  validation = validation.narrow(0, 0, kept).contiguous();
  if (taken.size(0) == 0)
    throw UsageError("too little data to hold any out for judging: give at least 8 windows");
  return taken;
}

struct CompressCommand {
  CommonOptions common;
  std::string model, out, preset_name = "3bit";
  double minutes = 0;  // 0: the preset's
  bool minutes_asked = false;
  int64_t calibration_tokens = 0;  // 0: the preset's, fewer where the minutes are short
  TrainingDataOptions data;
  bool force = false;
  std::chrono::steady_clock::time_point start;

  double elapsed_minutes() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / 60;
  }

  void run() {
    start = std::chrono::steady_clock::now();
    const Preset& preset = find_preset(preset_name);
    minutes_asked = minutes > 0;
    if (!minutes_asked) minutes = preset.minutes;
    data.default_context = preset.context;
    data.validation_share = kHeldOutShare;
    check_work_folder(out, force);
    const int threads = resolved_threads(common);
    set_torch_threads(threads);
    const auto files = ModelFiles::open(model);
    QuantizeModelOptions options;
    options.representation = parse_representation(preset.representation);
    options.embedding_bits = preset.embedding_bits;
    options.layer.seed = common.seed;
    options.layer.max_rounds = preset.rounds;
    options.layer.kmeans_iterations = preset.kmeans_iterations;
    check_quantize_request(*files, options, threads);

    const OrderedJson stage = {{"command", "compress"},
                               {"preset", preset.name},
                               {"data", training_data_request(*files, data, common.seed)}};
    const OrderedJson quantizing = quantize_request(*files, options, stage);
    OrderedJson request = quantizing;
    request["minutes"] = minutes;
    request["calibration_tokens"] = calibration_tokens;
    WorkFolder work(out, force, request);
    if (work.published()) {
      log_info(concat(work.out().string(), " is finished"));
      return print_kept_table(work.out());
    }
    const auto tokens =
        work.settle("calibration_tokens", [&] { return fitting_tokens(*files, options, preset); })
            .get<int64_t>();
    log_info(concat("compressing ", model, " to ", preset.representation, " (preset ", preset.name,
                    "); done in about ", format_duration(minutes * 60), ", at ", threads,
                    " threads"));
    if (data.files.empty() && data.tokens == 0) data.tokens = tokens;
    TokenDataset dataset = load_training_data(*files, data, threads, common.seed);
    const TokenDataset calibration = first_windows(dataset, tokens);
    warn_of_few_tokens(*files, calibration);
    const torch::Tensor judged_windows = take_half(dataset.validation);

    const fs::path quantized = work.file("quantized");
    if (!fs::exists(quantized)) {
      WorkFolder part(quantized, false, quantizing);
      quantize_model(files, calibration, options, part, work.log("quantize"));
    }
    const fs::path result = tune(files, dataset, quantized, work, stage);
    report(judged_windows, result, work, threads);
  }

  // The one-shot methods learn from a part of the windows; tuning takes all of them.
  static TokenDataset first_windows(const TokenDataset& all, int64_t tokens) {
    TokenDataset part = all;
    const int64_t windows = std::max<int64_t>(1, tokens / all.train.size(1));
    part.train = all.train.narrow(0, 0, std::min(windows, all.train.size(0)));
    return part;
  }

  // As many calibration tokens as the preset has, or fewer where quantizing would take too much of
  // the minutes. UsageError where even few tokens take too long.
  int64_t fitting_tokens(const ModelFiles& files, const QuantizeModelOptions& options,
                         const Preset& preset) const {
    const QuantizeTime time = quantize_time(files, options);
    const double budget = minutes * 60;
    int64_t tokens = calibration_tokens > 0 ? calibration_tokens : preset.calibration_tokens;
    if (calibration_tokens == 0) {
      while (tokens / 2 >= kFewestCalibrationTokens &&
             time.seconds(tokens) > kQuantizeShare * budget)
        tokens /= 2;
    }
    if (time.seconds(tokens) > (1 - kJudgingShare) * budget) {
      const std::string takes =
          concat("quantizing with ", tokens, " calibration tokens takes about ",
                 format_duration(time.seconds(tokens)), " on this machine, longer than ");
      // A time that was asked for is kept or refused; the preset's is only what is usual.
      if (minutes_asked) {
        throw UsageError(concat(takes, minutes, " minutes allow: give --minutes ",
                                std::ceil(time.seconds(tokens) / kQuantizeShare / 60), " or more"));
      }
      log_warning(concat(takes, "the preset's ", minutes, " minutes; it is not tuned after that"));
    }
    if (calibration_tokens == 0 && tokens < preset.calibration_tokens) {
      log_warning(concat("calibrating on ", tokens, " tokens instead of the preset's ",
                         preset.calibration_tokens, ", to keep within ", minutes,
                         " minutes; more minutes give a better result"));
    }
    return tokens;
  }

  // Tunes for what is left of the minutes; returns the folder that holds the result.
  fs::path tune(const std::shared_ptr<const ModelFiles>& files, const TokenDataset& dataset,
                const fs::path& quantized, WorkFolder& work, const OrderedJson& stage) {
    const fs::path tuned = work.file("tuned");
    if (fs::exists(tuned)) return tuned;
    TuneOptions options;
    // The length is fixed once, so that a run that goes on is the same run.
    options.minutes = work.settle("tune_minutes",
                                  [&] { return minutes * (1 - kJudgingShare) - elapsed_minutes(); })
                          .get<double>();
    options.seed = common.seed;
    if (options.minutes < kShortestTuning || dataset.validation.size(0) == 0) {
      log_warning("no time left to tune: the one-shot result is kept; give more --minutes");
      return quantized;
    }
    const auto student = ModelFiles::open(quantized);
    check_tune_request(*student, *files, options, resolved_threads(common));
    WorkFolder part(tuned, false, tune_request(*student, *files, options, stage));
    tune_model(student, files, dataset, options, part, work.log("tune"));
    return tuned;
  }

  void report(const torch::Tensor& held_out, const fs::path& result, WorkFolder& work,
              int threads) const {
    log_info("judging on the held-out windows");
    const int64_t context = held_out.size(1);
    const std::vector<int32_t> tokens(held_out.data_ptr<int64_t>(),
                                      held_out.data_ptr<int64_t>() + held_out.numel());
    const Judgment judgment = judge(model, result, tokens, context, threads);

    const std::string protocol = concat(
        "Held-out ",
        data.files.empty() ? "text that the original model wrote itself" : "part of the given text",
        ": ", judgment.original.quality.windows, " windows of ", context,
        " tokens, in the runtime.\n");
    const fs::path card = result / "README.md";
    const std::string text = read_text_file(card);
    write_file_atomic(card, text.substr(0, text.find(kJudged)) + kJudged + "\n" +
                                judgment_table(judgment, false) + "\n" + protocol);
    work.publish(result);

    const OrderedJson json = {{"out", out},
                              {"preset", preset_name},
                              {"original", to_json(judgment.original)},
                              {"compressed", to_json(judgment.compressed)},
                              {"seconds", elapsed_minutes() * 60},
                              {"peak_memory_bytes", peak_memory_bytes()}};
    print_result(common, json,
                 concat(judgment_table(judgment, true), protocol, "Took ",
                        format_duration(elapsed_minutes() * 60), " and ",
                        format_bytes(static_cast<double>(peak_memory_bytes())),
                        " of memory. Try: bitsmith run ", out));
  }

  // An earlier run was killed after it had put the result in place.
  void print_kept_table(const fs::path& result) const {
    const std::string text = read_text_file(result / "README.md");
    const size_t begin = std::min(text.find(kJudged), text.size());
    print_result(common, {{"out", out}, {"preset", preset_name}, {"finished_before", true}},
                 text.substr(begin));
  }

  static constexpr const char* kJudged = "\n## Judged\n";
};

}  // namespace

void add_compress(CLI::App& app) {
  auto command = std::make_shared<CompressCommand>();
  CLI::App& sub = *app.add_subcommand(
      "compress",
      "The whole pipeline: calibrate, quantize, tune, judge. One table at the end.\n"
      "  bitsmith compress MODEL --preset 3bit --minutes 30 -o out/model");
  sub.add_option("MODEL", command->model, "Hugging Face directory or GGUF file")->required();
  sub.add_option("-o,--out", command->out, "Result directory; work in progress is OUT.partial")
      ->required();
  sub.add_option("--preset", command->preset_name, presets_help())->capture_default_str();
  sub.add_option("--minutes", command->minutes,
                 "Time for the whole pipeline (default: the preset's)")
      ->check(CLI::Range(0.1, 1e6));
  add_training_data_options(sub, command->data, "--data-tokens");
  sub.add_option("--calibration-tokens", command->calibration_tokens,
                 "How many of these tokens the one-shot quantizer learns from; tuning uses all "
                 "(default: the preset's, fewer where the minutes are short)")
      ->check(at_least(0));
  sub.add_flag("--force", command->force, "Replace an existing OUT");
  add_common_options(sub, command->common);
  sub.callback([command] { command->run(); });
}

}  // namespace bitsmith
