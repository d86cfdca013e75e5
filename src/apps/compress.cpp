// bitsmith compress: the whole pipeline, from a model to a smaller one and a table that judges it.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "apps/command.h"
#include "apps/presets.h"
#include "apps/training_data.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "compressor/model/torch_threads.h"
#include "compressor/quantize/quantize_model.h"
#include "compressor/tune/tune_model.h"
#include "evaluate/evaluate.h"
#include "format/output_folder.h"
#include "runtime/runtime_language_model.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

// Judging and writing at the end take about this share of the whole; tuning stops in time for them.
constexpr double kJudgingShare = 0.12;
// Of the windows, held out to choose the best state and to judge the result.
constexpr double kHeldOutShare = 0.15;
constexpr double kShortestTuning = 0.5;  // minutes; less is not worth loading the models for

// One row of the table: a model as its user meets it, in the runtime.
struct Judged {
  double decoder_bits = 0;
  uint64_t file_bytes = 0;
  EvaluateResult quality;
  double tokens_per_second = 0;
  uint64_t peak_memory_bytes = 0;
};

// Speed and memory in a process of their own, so that nothing of this one is counted.
Json bench_in_own_process(const fs::path& model, int threads) {
  const fs::path self = fs::read_symlink("/proc/self/exe");
  std::string quoted;
  for (const char c : model.string())
    quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  const std::string command =
      concat("'", self.string(), "' bench '", quoted, "' --threads ", threads,
             " --prompt-tokens 128 --generate-tokens 64 --repeats 2 --quiet --json");
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) throw Error("cannot start bitsmith bench");
  std::string text;
  char buffer[4096];
  while (const size_t n = std::fread(buffer, 1, sizeof(buffer), pipe)) text.append(buffer, n);
  const int status = ::pclose(pipe);
  if (interrupted()) throw Interrupted("judging was stopped; the same command judges anew");
  if (status != 0) throw Error("bitsmith bench failed on " + model.string());
  return parse_json(text, "bitsmith bench");
}

Judged judge(const fs::path& model, LanguageModel& engine, LanguageModel* teacher,
             const std::vector<int32_t>& tokens, int64_t context, int threads) {
  Judged judged;
  const auto files = ModelFiles::open(model);
  judged.decoder_bits = files->decoder_bits();
  judged.file_bytes = files->checkpoint().file_bytes();
  judged.quality = evaluate(engine, teacher, tokens, {.context = context});
  const Json bench = bench_in_own_process(model, threads);
  judged.tokens_per_second = json_get<double>(bench, "tokens_per_second", "bitsmith bench");
  judged.peak_memory_bytes = json_get<uint64_t>(bench, "peak_memory_bytes", "bitsmith bench");
  return judged;
}

OrderedJson to_json(const Judged& j) {
  return {{"bits", j.decoder_bits},
          {"file_bytes", j.file_bytes},
          {"perplexity", j.quality.perplexity},
          {"kl", j.quality.kl},
          {"kl_p99", j.quality.kl_p99},
          {"top1", j.quality.top1},
          {"tokens", j.quality.tokens},
          {"tokens_per_second", j.tokens_per_second},
          {"peak_memory_bytes", j.peak_memory_bytes}};
}

// Speeds and memory only where they may be shown: OUT holds none, so that the same work gives the
// same bytes.
std::string table(const Judged& original, const Judged& result, bool with_speed) {
  std::string text = "| | decoder bits a weight | weight file | perplexity | KL | top-1 |";
  text += with_speed ? " tokens/s | peak memory |\n|---|---|---|---|---|---|---|---|\n"
                     : "\n|---|---|---|---|---|---|\n";
  for (const auto* j : {&original, &result}) {
    char row[300];
    const bool first = j == &original;
    std::snprintf(
        row, sizeof(row), "| %s | %.2f | %s | %.2f | %s | %s |", first ? "original" : "compressed",
        j->decoder_bits, format_megabytes(static_cast<double>(j->file_bytes)).c_str(),
        j->quality.perplexity, first ? "-" : concat(std::round(j->quality.kl * 1e4) / 1e4).c_str(),
        first ? "-" : concat(std::round(j->quality.top1 * 1e3) / 10, " %").c_str());
    text += row;
    if (with_speed) {
      std::snprintf(row, sizeof(row), " %.1f | %s |", j->tokens_per_second,
                    format_bytes(static_cast<double>(j->peak_memory_bytes)).c_str());
      text += row;
    }
    text += "\n";
  }
  return text;
}

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
  double minutes = 0;
  TrainingDataOptions data;
  bool force = false;
  std::chrono::steady_clock::time_point start;

  double elapsed_minutes() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / 60;
  }

  void run() {
    start = std::chrono::steady_clock::now();
    const Preset& preset = find_preset(preset_name);
    if (minutes <= 0) minutes = preset.minutes;
    if (data.tokens == 0) data.tokens = preset.calibration_tokens;
    data.default_context = preset.context;
    data.validation_share = kHeldOutShare;
    check_output(out, force);
    const int threads = resolved_threads(common);
    set_torch_threads(threads);
    const auto files = ModelFiles::open(model);
    log_info(concat("compressing ", model, " to ", preset.representation, " (preset ", preset.name,
                    "); done in about ", format_duration(minutes * 60), ", at ", threads,
                    " threads"));
    QuantizeModelOptions options;
    options.representation = parse_representation(preset.representation);
    options.embedding_bits = preset.embedding_bits;
    options.layer.seed = common.seed;
    options.layer.max_rounds = preset.rounds;
    options.layer.kmeans_iterations = preset.kmeans_iterations;
    check_quantize_request(*files, options, out, force);  // before text is written for minutes
    TokenDataset dataset = load_training_data(*files, data, threads, common.seed);
    warn_of_few_tokens(*files, dataset);
    const torch::Tensor judged_windows = take_half(dataset.validation);

    const fs::path work = out + ".partial";
    fs::create_directories(work);
    const fs::path quantised = work / "quantised", tuned = work / "tuned";
    const OrderedJson recipe = {{"command", "compress"},
                                {"preset", preset.name},
                                {"data", training_data_recipe(data, dataset)}};
    if (!fs::exists(quantised) && !fs::exists(tuned)) {
      quantize_model(files, dataset, options, quantised, false, recipe);
    }
    const fs::path result =
        fs::exists(tuned) ? tuned : tune(files, dataset, quantised, tuned, work, recipe);
    report(judged_windows, result, work, threads);
  }

  // Tunes for what is left of the minutes; returns the folder that holds the result.
  fs::path tune(const std::shared_ptr<const ModelFiles>& files, const TokenDataset& dataset,
                const fs::path& quantised, const fs::path& tuned, const fs::path& work,
                const OrderedJson& recipe) {
    // The length is fixed once, so that a resumed run is the same run.
    const fs::path plan = work / "plan.json";
    double length = minutes * (1 - kJudgingShare) - elapsed_minutes();
    if (fs::exists(plan)) {
      length = json_get<double>(read_json_file(plan), "tune_minutes", plan.string());
    } else {
      write_json_file(plan, {{"tune_minutes", length}});
    }
    if (length < kShortestTuning || dataset.validation.size(0) == 0) {
      log_warning("no time left to tune: the one-shot result is kept; give more --minutes");
      return quantised;
    }
    TuneOptions options;
    options.minutes = length;
    options.seed = common.seed;
    tune_model(ModelFiles::open(quantised), files, dataset, options, tuned, false, recipe);
    return tuned;
  }

  void report(const torch::Tensor& held_out, const fs::path& result, const fs::path& work,
              int threads) {
    log_info("judging on the held-out windows");
    const int64_t context = held_out.size(1);
    std::vector<int32_t> tokens(held_out.data_ptr<int64_t>(),
                                held_out.data_ptr<int64_t>() + held_out.numel());
    const auto teacher = load_runtime_language_model(model, threads);
    const auto student = load_runtime_language_model(result, threads);
    const Judged before = judge(model, *teacher, nullptr, tokens, context, threads);
    const Judged after = judge(result, *student, teacher.get(), tokens, context, threads);

    const std::string protocol = concat(
        "Held-out ",
        data.files.empty() ? "text that the original model wrote itself" : "part of the given text",
        ": ", before.quality.windows, " windows of ", context, " tokens, in the runtime.\n");
    const fs::path card = result / "README.md";
    const std::string text = read_text_file(card), heading = "\n## Judged\n";
    write_file_atomic(card, text.substr(0, text.find(heading)) + heading + "\n" +
                                table(before, after, false) + "\n" + protocol);
    publish_folder(result, out, force);
    fs::remove_all(work);

    const OrderedJson json = {{"out", out},
                              {"preset", preset_name},
                              {"original", to_json(before)},
                              {"compressed", to_json(after)},
                              {"seconds", elapsed_minutes() * 60},
                              {"peak_memory_bytes", peak_memory_bytes()}};
    print_result(common, json,
                 concat(table(before, after, true), protocol, "Took ",
                        format_duration(elapsed_minutes() * 60), " and ",
                        format_bytes(static_cast<double>(peak_memory_bytes())),
                        " of memory. Try: bitsmith run ", out));
  }
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
  add_training_data_options(sub, command->data, "--calibration-tokens");
  sub.add_flag("--force", command->force, "Replace an existing OUT");
  add_common_options(sub, command->common);
  sub.callback([command] { command->run(); });
}

}  // namespace bitsmith
