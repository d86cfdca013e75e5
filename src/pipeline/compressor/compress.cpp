#include "pipeline/compressor/compress.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <span>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "compressor/budget/budget.h"
#include "compressor/model/torch_threads.h"
#include "compressor/quantize_model/quantize_model.h"
#include "compressor/tune/tune_memory.h"
#include "compressor/tune/tune_model.h"
#include "pipeline/compressor/command_line.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

// Judging and writing at the end take about this share of the whole; tuning stops in time for them.
constexpr double kJudgingShare = 0.12;
// Quantizing shall take this share of the whole at most; fewer calibration tokens take less.
constexpr double kQuantizeShare = 0.6;
// With a target, what matrices need shall be measured in this share of it; fewer windows take less.
constexpr double kMeasuringShare = 0.25;
constexpr int64_t kFewestMeasuredWindows = 2;
constexpr int64_t kFewestCalibrationTokens = 8192;
// Of the windows, held out to choose the best state and to judge the result.
constexpr double kHeldOutShare = 0.15;
constexpr double kShortestTuning = 0.5;  // minutes; less is not worth loading the models for
// Tuning takes smaller micro-batches where that keeps it within this memory: what users of small
// machines have.
constexpr uint64_t kTuningMemory = uint64_t{3} << 30;
// Begins the table in the model card.
constexpr const char* kJudged = "\n## Judged\n";

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

// The one-shot methods learn from a part of the windows; tuning takes all of them.
TokenDataset first_windows(const TokenDataset& all, int64_t tokens) {
  TokenDataset part = all;
  const int64_t windows = std::max<int64_t>(1, tokens / all.train.size(1));
  part.train = all.train.narrow(0, 0, std::min(windows, all.train.size(0)));
  return part;
}

class Compression {
 public:
  Compression(const CompressJob& job, const RunContext& context)
      : job_(job),
        context_(context),
        preset_(find_preset(job.options.preset)),
        data_(job.data),
        minutes_(job.options.minutes > 0 ? job.options.minutes : preset_.minutes) {
    data_.default_context = preset_.context;
    data_.validation_share = kHeldOutShare;
    budget_.target_size = job.options.target_size;
  }

  CompressOutcome run() {
    check_work_folder(job_.out, job_.force);
    set_torch_threads(context_.threads);
    const auto files = ModelFiles::open(job_.model);
    const QuantizeModelOptions options = quantize_options();
    if (budget_.asked()) {
      check_budget_request(*files, options, budget_, context_);
    } else {
      check_quantize_request(*files, options, context_);
    }

    OrderedJson stage = {{"command", "compress"},
                         {"preset", preset_.name},
                         {"data", training_data_request(*files, data_, context_.seed)}};
    if (budget_.asked()) stage.erase("preset");
    OrderedJson request = quantizing(*files, options, stage);
    CompressOptions resolved = job_.options;
    resolved.minutes = minutes_;
    request.update(options_json(resolved));
    if (budget_.asked()) request.erase("preset");
    WorkFolder work(job_.out, job_.force, request);
    if (work.published()) {
      log_info(concat(work.out().string(), " is finished"));
      return kept_table(work.out());
    }
    const OrderedJson sizes = work.settle("sizes", [&] { return fitting_sizes(*files, options); });
    const auto tokens = sizes.at("calibration_tokens").get<int64_t>();
    if (budget_.asked()) {
      budget_.windows = sizes.at("measured_windows").get<int64_t>();
      budget_.measurements = work.log("sensitivity").string();
    }
    log_info(concat(
        "compressing ", job_.model.string(), " to ",
        budget_.asked() ? option_text(budget_.target_size)
                        : concat(preset_.representation, " (preset ", preset_.name, ")"),
        "; done in about ", format_duration(minutes_ * 60), ", at ", context_.threads, " threads"));
    if (data_.files.empty() && data_.tokens == 0) data_.tokens = tokens;
    TokenDataset dataset = load_training_data(*files, data_, context_);
    const torch::Tensor judged_windows = take_half(dataset.validation);
    TokenDataset calibration = first_windows(dataset, tokens);
    warn_of_few_tokens(*files, calibration);

    const fs::path quantized = work.file("quantized");
    if (!fs::exists(quantized)) {
      WorkFolder part(quantized, false, quantizing(*files, options, stage));
      if (budget_.asked()) {
        quantize_to_budget(files, calibration, options, budget_, part, work.log("quantize"),
                           context_);
      } else {
        quantize_model(files, calibration, options, part, work.log("quantize"), context_);
      }
    }
    const fs::path result = tuned(files, dataset, quantized, work, stage);
    return judged(judged_windows, result, quantized, work);
  }

 private:
  double elapsed_seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

  QuantizeModelOptions quantize_options() const {
    QuantizeModelOptions options;
    if (!budget_.asked()) {
      options.representation = parse_representation(preset_.representation);
      parse_option(preset_.embedding, options.embedding);
    }
    options.objective = job_.options.objective;
    options.guided_share = job_.options.guided_share;
    options.row_weights = job_.options.row_weights;
    options.linear.seed = context_.seed;
    options.linear.max_rounds = preset_.rounds;
    options.linear.kmeans_iterations = preset_.kmeans_iterations;
    return options;
  }

  OrderedJson quantizing(const ModelFiles& files, const QuantizeModelOptions& options,
                         const OrderedJson& stage) const {
    return budget_.asked() ? budget_request(files, options, budget_, stage)
                           : quantize_request(files, options, stage);
  }

  // What the request leaves to the minutes and to this machine's speed.
  OrderedJson fitting_sizes(const ModelFiles& files, const QuantizeModelOptions& options) const {
    if (!budget_.asked())
      return {{"calibration_tokens",
               fitting_tokens(with_writing(quantize_time(files, options, context_), files))}};
    const BudgetTime time =
        budget_time(files, options, budget_, window_length(files, data_), context_);
    int64_t windows = budget_.windows;
    while (windows / 2 >= kFewestMeasuredWindows &&
           time.measuring.seconds(windows) > kMeasuringShare * minutes_ * 60)
      windows /= 2;
    QuantizeTime all = with_writing(time.quantizing, files);
    all.fixed_seconds += time.measuring.seconds(windows);
    return {{"calibration_tokens", fitting_tokens(all)}, {"measured_windows", windows}};
  }

  // The model writes as many tokens as calibration takes, unless the request says how many.
  QuantizeTime with_writing(QuantizeTime time, const ModelFiles& files) const {
    const double seconds = writing_seconds_a_token(files, data_, context_);
    if (data_.tokens > 0) {
      time.fixed_seconds += seconds * static_cast<double>(data_.tokens);
    } else {
      time.seconds_per_token += seconds;
    }
    return time;
  }

  // As many calibration tokens as the preset has, or fewer where quantizing would take too much of
  // the minutes. UsageError where even few tokens take too long.
  int64_t fitting_tokens(const QuantizeTime& time) const {
    const double budget = minutes_ * 60;
    const int64_t asked = job_.options.calibration_tokens;
    int64_t tokens = asked > 0 ? asked : preset_.calibration_tokens;
    if (asked == 0) {
      while (tokens / 2 >= kFewestCalibrationTokens &&
             time.seconds(tokens) > kQuantizeShare * budget)
        tokens /= 2;
    }
    if (time.seconds(tokens) > (1 - kJudgingShare) * budget) {
      const std::string takes =
          concat(data_.files.empty() ? "writing text and " : "", "quantizing with ", tokens,
                 " calibration tokens takes about ", format_duration(time.seconds(tokens)),
                 " on this machine, longer than ");
      // A time that was asked for is kept or refused; the preset's is only what is usual.
      if (job_.options.minutes > 0) {
        throw UsageError(concat(takes, minutes_, " minutes allow: give --minutes ",
                                std::ceil(time.seconds(tokens) / kQuantizeShare / 60), " or more"));
      }
      log_warning(concat(takes, "the preset's ", minutes_, " minutes; it is not tuned after that"));
    }
    if (asked == 0 && tokens < preset_.calibration_tokens) {
      log_warning(concat("calibrating on ", tokens, " tokens instead of the preset's ",
                         preset_.calibration_tokens, ", to keep within ", minutes_,
                         " minutes; more minutes give a better result"));
    }
    return tokens;
  }

  // Tunes for what is left of the minutes; returns the folder that holds the result.
  fs::path tuned(const std::shared_ptr<const ModelFiles>& files, const TokenDataset& dataset,
                 const fs::path& quantized, WorkFolder& work, const OrderedJson& stage) const {
    const fs::path folder = work.file("tuned");
    if (fs::exists(folder)) return folder;
    TuneOptions options;
    // The length is fixed once, so that a run that goes on is the same run.
    options.minutes =
        work.settle("tune_minutes",
                    [&] { return minutes_ * (1 - kJudgingShare) - elapsed_seconds() / 60; })
            .get<double>();
    options.seed = context_.seed;
    options.embedding = job_.options.tune_embedding;
    if (options.minutes < kShortestTuning || dataset.validation.size(0) == 0) {
      log_warning("no time left to tune: the one-shot result is kept; give more --minutes");
      return quantized;
    }
    const auto student = ModelFiles::open(quantized);
    const int64_t window = dataset.train.size(1);
    options.micro_tokens =
        work.settle("micro_tokens",
                    [&] { return fitting_micro_tokens(*student, options, window, kTuningMemory); })
            .get<int64_t>();
    check_tune_request(*student, *files, options, window, less_memory(quantized), context_);
    return_freed_memory();  // of quantizing
    WorkFolder part(folder, false, tune_request(*student, *files, options, stage));
    tune_model(student, files, dataset, options, part, work.log("tune"), context_);
    return folder;
  }

  // A run that goes on finds what is quantized.
  std::string less_memory(const fs::path& quantized) const {
    return concat("the same command goes on from here when more is free; bitsmith tune ",
                  quantized.string(), " --teacher ", job_.model.string(),
                  " has options that take less; a run from the start needs less with shorter "
                  "windows (--context)",
                  job_.options.tune_embedding ? " or without --tune-embedding" : "");
  }

  // Judges, writes the table into the model card, and puts the result in place.
  CompressOutcome judged(const torch::Tensor& held_out, const fs::path& result,
                         const fs::path& quantized, WorkFolder& work) const {
    log_info("judging on the held-out windows");
    return_freed_memory();  // of tuning, which keeps it
    const CalibrationGap one_shot = read_quantize_result(quantized).kl;
    const int64_t window = held_out.size(1);
    const std::vector<int32_t> tokens(held_out.data_ptr<int64_t>(),
                                      held_out.data_ptr<int64_t>() + held_out.numel());
    const auto before_tuning =
        result == quantized ? std::nullopt : std::optional<fs::path>(quantized);
    const Judgment judgment =
        judge(job_.model, before_tuning, result, tokens, window, job_.measure_speed, context_);

    std::string protocol = concat("Held-out ",
                                  data_.files.empty() ? "text that the original model wrote itself"
                                                      : "part of the given text",
                                  ": ", judgment.original.quality.windows, " windows of ", window,
                                  " tokens, in the runtime.\n");
    if (one_shot.calibration)
      protocol += concat("One-shot, at the end of quantizing: ", gap_line(one_shot), ".\n");
    std::string choices;
    if (budget_.asked()) {
      const OrderedJson budget = read_budget(quantized);
      protocol +=
          concat("Target ", option_text(budget_.target_size), ": ", budget_line(budget), ".\n");
      choices = budget_table(budget) + "\n";
    }
    write_recipe(result / "bitsmith.json", judgment, tokens, window);
    const fs::path card = result / "README.md";
    const std::string text = read_text_file(card);
    write_file_atomic(card, text.substr(0, text.find(kJudged)) + kJudged + "\n" +
                                judgment_table(judgment, false) + "\n" + protocol);
    work.publish(result);
    return {judgment, one_shot, choices + judgment_table(judgment, true) + protocol,
            elapsed_seconds()};
  }

  // Adds the command and the table to what the stages have written.
  void write_recipe(const fs::path& file, const Judgment& judgment,
                    const std::vector<int32_t>& tokens, int64_t window) const {
    OrderedJson recipe = parse_ordered_json(read_text_file(file), file.string());
    recipe["command_line"] =
        command_line({"compress", "MODEL"},
                     {option_words(job_.options), training_data_words(job_.data, "--data-tokens")},
                     context_.seed);
    const auto of_original = [](const Judged& judged) {
      return OrderedJson{{"bits", judged.decoder_bits},
                         {"file_bytes", judged.file_bytes},
                         {"perplexity", judged.quality.perplexity},
                         {"perplexity_error", judged.quality.perplexity_error}};
    };
    const auto of_student = [&](const Judged& judged) {
      OrderedJson figures = of_original(judged);
      figures.update({{"kl", judged.quality.kl},
                      {"kl_error", judged.quality.kl_error},
                      {"kl_p99", judged.quality.kl_p99},
                      {"top1", judged.quality.top1},
                      {"top1_error", judged.quality.top1_error}});
      return figures;
    };
    recipe["judged"] = {{"text", data_.files.empty() ? "held-out text of the model's own"
                                                     : "held-out part of the training text"},
                        {"sha256", sha256(std::as_bytes(std::span(tokens)))},
                        {"engine", "runtime"},
                        {"context", window},
                        {"windows", judgment.compressed.quality.windows},
                        {"tokens", judgment.compressed.quality.tokens},
                        {"bos", tokens[0] == Tokenizer::open(job_.model)->added_bos()},
                        {"original", of_original(judgment.original)},
                        {"compressed", of_student(judgment.compressed)}};
    if (judgment.one_shot) recipe["judged"]["one_shot"] = of_student(*judgment.one_shot);
    write_json_file(file, recipe);
  }

  CompressOutcome kept_table(const fs::path& result) const {
    const std::string text = read_text_file(result / "README.md");
    return {{}, {}, text.substr(std::min(text.find(kJudged), text.size())), elapsed_seconds()};
  }

  const CompressJob& job_;
  const RunContext& context_;
  const Preset& preset_;
  TrainingDataOptions data_;
  BudgetOptions budget_;  // asked for in place of the preset, or not
  double minutes_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

CompressOutcome compress(const CompressJob& job, const RunContext& context) {
  return Compression(job, context).run();
}

}  // namespace bitsmith
