// bitsmith bench: speed of the runtime on a model, beside what the machine's memory allows.
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <sstream>

#include "apps/bitsmith/bench_kernel.h"
#include "apps/bitsmith/commands.h"
#include "apps/command.h"
#include "architecture/family.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "format/embedding_choice.h"
#include "kernels/cpu_features.h"
#include "kernels/machine_limits.h"
#include "runtime/batch_options.h"
#include "runtime/model_source.h"
#include "runtime/speed.h"

namespace bitsmith {
namespace {

// What was measured with one number of threads.
struct ThreadsResult {
  int threads = 0;
  std::vector<MeasuredSpeed> speeds;
  double bandwidth = 0;  // of main memory, bytes a second
};

struct BenchResult {
  double load_seconds = 0, first_token_seconds = 0;  // from the start of loading
  uint64_t bytes_per_token = 0, peak_memory = 0;
  std::vector<ThreadsResult> by_threads;
};

struct BenchCommand {
  CommonOptions common;
  std::string model, shape, representation, embedding, kernel;
  std::vector<int> over_threads;
  SpeedOptions speed;
  std::vector<const CLI::Option*> of_models;  // that --kernel has no use for

  void run() const;

 private:
  ModelWeights weights(const RunContext& context) const;
  // `loaded` holds the weights afterwards.
  BenchResult measure(ModelWeights& loaded) const;
};

// Bytes of weights that are read a second, at least: a step of a batch may read them for each
// sequence.
double bytes_read(const MeasuredSpeed& speed, uint64_t bytes_per_token) {
  return static_cast<double>(bytes_per_token) * speed.median / static_cast<double>(speed.batch);
}

OrderedJson to_json(const MeasuredSpeed& speed, const ThreadsResult& result,
                    uint64_t bytes_per_token) {
  OrderedJson json = {{"what", speed.prompt ? "prompt" : "generate"},
                      {"threads", result.threads},
                      {"tokens", speed.tokens}};
  if (!speed.prompt) json.update({{"after", speed.after}, {"batch", speed.batch}});
  json["tokens_per_second"] = speed.median;
  json["tokens_per_second_best"] = speed.best;
  if (speed.prompt) return json;
  const double read = bytes_read(speed, bytes_per_token);
  json.update({{"bytes_per_second", read}, {"bandwidth_ratio", read / result.bandwidth}});
  return json;
}

std::string speed_row(const MeasuredSpeed& speed, const ThreadsResult& result,
                      uint64_t bytes_per_token) {
  std::string text = format("%-8s %7d %7lld", speed.prompt ? "prompt" : "generate", result.threads,
                            static_cast<long long>(speed.tokens));
  text += speed.prompt ? format(" %7s %6s", "", "")
                       : format(" %7lld %6lld", static_cast<long long>(speed.after),
                                static_cast<long long>(speed.batch));
  text += format(" %9.1f %9.1f", speed.median, speed.best);
  if (!speed.prompt) {
    const double read = bytes_read(speed, bytes_per_token);
    text += format(" %7.2f %5.0f %%", read / 1e9, 100 * read / result.bandwidth);
  }
  return text + "\n";
}

// "layers.*.mlp.up_proj" of block 7's: what a table has one row for.
std::string without_numbers(const std::string& name) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::string text;
  std::istringstream parts(name);
  for (std::string part; std::getline(parts, part, '.');) {
    if (!text.empty()) text += '.';
    text += std::ranges::all_of(part, is_digit) ? "*" : part;
  }
  return text;
}

OrderedJson matrices_json(const ModelWeights& weights) {
  OrderedJson json = OrderedJson::array();
  for (const auto& [name, matrix] : named_matrices(weights)) {
    json.push_back({{"name", name},
                    {"shape", {matrix->out_features, matrix->in_features}},
                    {"kernel", matrix->kernel()},
                    {"bytes", matrix->bytes()}});
  }
  return json;
}

// Matrices that differ in their numbers alone are one row, in the order of the first of each.
std::string kernel_table(const ModelWeights& weights) {
  struct Row {
    std::string text;
    int64_t count = 0;
    uint64_t bytes = 0;
  };
  std::vector<Row> rows;
  for (const auto& [name, matrix] : named_matrices(weights)) {
    const std::string text =
        format("%-44s %-16s %s", excerpt(without_numbers(name)).c_str(),
               shape_string({matrix->out_features, matrix->in_features}).c_str(),
               matrix->kernel().c_str());
    auto row = std::find_if(rows.begin(), rows.end(), [&](const Row& r) { return r.text == text; });
    if (row == rows.end()) row = rows.insert(row, Row{.text = text});
    ++row->count;
    row->bytes += matrix->bytes();
  }
  std::string table;
  for (const Row& row : rows) {
    table += concat(row.count, " x ", row.text, ", ",
                    format_megabytes(static_cast<double>(row.bytes)), "\n");
  }
  return table;
}

ModelWeights BenchCommand::weights(const RunContext& context) const {
  if (shape.empty() == model.empty())
    throw UsageError("bench needs a MODEL, --shape CONFIG.json or --kernel OUTxIN");
  if (shape.empty()) {
    if (!representation.empty() || !embedding.empty())
      throw UsageError("--representation and --embedding go with --shape");
    return ModelSource::open(model)->weights(DensePrecision::kFast, context);
  }
  std::optional<RepresentationSpec> spec;
  if (!representation.empty()) spec = parse_representation(representation);
  EmbeddingChoice outer;
  if (!embedding.empty()) parse_option(embedding, outer);
  const ModelPlan plan = plan_model(read_json_file(shape), shape);
  return random_weights(plan, spec, spec_of(outer, plan.embedding.in_features), common.seed);
}

BenchResult BenchCommand::measure(ModelWeights& loaded) const {
  RunContext context = run_context(common);
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  BenchResult all;
  loaded = weights(context);
  all.load_seconds = seconds();
  all.bytes_per_token = bytes_per_token(loaded);
  for (const int threads : over_threads.empty() ? std::vector{context.threads} : over_threads) {
    context.threads = threads;
    RuntimeModel runtime(std::move(loaded), threads, prompt_products(speed.products));
    if (all.by_threads.empty()) {
      run_first_token(runtime);
      all.first_token_seconds = seconds();
    }
    ThreadsResult result{threads, measure_speed(runtime, speed, context)};
    // Before the buffer of the bandwidth measurement.
    if (all.by_threads.empty()) all.peak_memory = peak_memory_bytes();
    const uint64_t buffer = std::min<uint64_t>(uint64_t{1} << 30, available_memory_bytes() / 4);
    result.bandwidth = read_bandwidth(runtime.pool(), static_cast<int64_t>(buffer));
    all.by_threads.push_back(std::move(result));
    loaded = runtime.take_weights();
  }
  return all;
}

// The first of each kind as single numbers, and a list of all.
OrderedJson to_json(const BenchResult& all) {
  const ThreadsResult& first = all.by_threads.front();
  const auto is_prompt = [](const MeasuredSpeed& s) { return s.prompt; };
  const MeasuredSpeed& prompt = *std::find_if(first.speeds.begin(), first.speeds.end(), is_prompt);
  const MeasuredSpeed& answer =
      *std::find_if_not(first.speeds.begin(), first.speeds.end(), is_prompt);
  const double read = bytes_read(answer, all.bytes_per_token);
  OrderedJson json = {{"isa", isa_name(selected_isa())},
                      {"threads", first.threads},
                      {"prompt_tokens", prompt.tokens},
                      {"prompt_tokens_per_second", prompt.median},
                      {"prompt_tokens_per_second_best", prompt.best},
                      {"generate_tokens", answer.tokens},
                      {"tokens_per_second", answer.median},
                      {"tokens_per_second_best", answer.best},
                      {"bytes_per_token", all.bytes_per_token},
                      {"bytes_per_second", read},
                      {"memory_bandwidth", first.bandwidth},
                      {"bandwidth_ratio", read / first.bandwidth},
                      {"load_seconds", all.load_seconds},
                      {"first_token_seconds", all.first_token_seconds},
                      {"peak_memory_bytes", all.peak_memory},
                      {"measurements", OrderedJson::array()}};
  for (const ThreadsResult& result : all.by_threads)
    for (const MeasuredSpeed& s : result.speeds)
      json["measurements"].push_back(to_json(s, result, all.bytes_per_token));
  return json;
}

std::string to_text(const BenchResult& all, int64_t repeats) {
  std::string text = concat("kernels of ", isa_name(selected_isa()), ", median and best of ",
                            repeats, repeats == 1 ? " repeat" : " repeats", "\n\n");
  text += format("%-8s %7s %7s %7s %6s %9s %9s %7s %7s\n", "", "threads", "tokens", "after",
                 "batch", "tokens/s", "best", "GB/s", "of RAM");
  for (const ThreadsResult& result : all.by_threads)
    for (const MeasuredSpeed& s : result.speeds) text += speed_row(s, result, all.bytes_per_token);
  text += concat("\nweights  ", format_megabytes(static_cast<double>(all.bytes_per_token)),
                 " read a token\n");
  text += format("start    %.2f s to load, %.2f s to the first token\n", all.load_seconds,
                 all.first_token_seconds);
  for (const ThreadsResult& result : all.by_threads) {
    text += format("memory   %.2f GB/s with %d threads, measured now\n", result.bandwidth / 1e9,
                   result.threads);
  }
  return text +
         concat("         ", format_bytes(static_cast<double>(all.peak_memory)), " peak\n\n");
}

void BenchCommand::run() const {
  if (!kernel.empty()) {
    if (!model.empty() || !shape.empty() || !embedding.empty())
      throw UsageError("--kernel goes without MODEL, --shape and --embedding");
    for (const CLI::Option* option : of_models)
      if (option->count() > 0)
        throw UsageError(concat("--kernel goes without ", option->get_name()));
    return KernelBench{.common = common,
                       .shape = kernel,
                       .representation = representation,
                       .tokens = speed.batch,
                       .over_threads = over_threads,
                       .repeats = speed.repeats}
        .run();
  }
  ModelWeights loaded;
  const BenchResult all = measure(loaded);
  OrderedJson json = to_json(all);
  json["matrices"] = matrices_json(loaded);
  print_result(common, json, to_text(all, speed.repeats) + kernel_table(loaded));
}

}  // namespace

void add_bench(CLI::App& app) {
  const auto bench = std::make_shared<BenchCommand>();
  CLI::App* command =
      app.add_subcommand("bench", "Speed of a model, beside the machine's memory bandwidth");
  add_common_options(*command, bench->common);
  command->add_option("MODEL", bench->model, "Model directory, GGUF file or packed model");
  command->add_option("--shape", bench->shape,
                      "Random weights of the shape that this config.json describes");
  command->add_option(
      "--kernel", bench->kernel,
      "A matrix of random weights alone, of OUT outputs and IN inputs: every way to "
      "multiply by it, with its weights in the caches (warm) and in main memory "
      "(cold), for --batch tokens");
  command->add_option("--representation", bench->representation,
                      "With --shape: representation of the linear layers, with --kernel: of the "
                      "matrix (default: bfloat16)");
  command->add_option("--embedding", bench->embedding,
                      "With --shape: embedding and head in 16, 8 or 4 bits, or a representation "
                      "(default: bfloat16)");
  const auto add_counts = [&](const char* name, std::vector<int64_t>& values, const char* help,
                              int64_t least) {
    return command->add_option(name, values, help)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(CLI::Range(least, int64_t{1} << 20))
        ->type_name("N,N,...")
        ->capture_default_str();
  };
  SpeedOptions& speed = bench->speed;
  const CLI::Option* prompts =
      add_counts("--prompt-tokens", speed.prompt_tokens, "Lengths of the prompts", 1);
  const CLI::Option* generated =
      command->add_option("--generate-tokens", speed.generate_tokens, "Tokens generated")
          ->check(CLI::Range(1, 1 << 20))
          ->capture_default_str();
  const CLI::Option* after =
      add_counts("--after", speed.after, "Tokens in a sequence before those that are generated", 0);
  add_counts("--batch", speed.batch, "Sequences that are generated side by side", 1);
  const CLI::Option* products =
      command
          ->add_option_function<std::string>(
              "--products",
              [bench](const std::string& text) { parse_option(text, bench->speed.products); },
              "How sequences side by side are multiplied with the weights, as of serve: single, "
              "int8 or exact, which is for prompts too")
          ->default_str(option_text(speed.products));
  bench->of_models = {prompts, generated, after, products};
  command
      ->add_option("--over-threads", bench->over_threads,
                   "Numbers of threads that are measured one after another (default: --threads)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(1, 1024))
      ->type_name("N,N,...");
  command->add_option("--repeats", speed.repeats, "Repeats; median and best are shown")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->callback([bench] { bench->run(); });
}

}  // namespace bitsmith
