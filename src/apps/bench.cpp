// bitsmith bench: speed of the runtime on a model, beside what the machine's memory allows.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>

#include "apps/command.h"
#include "architecture/family.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/random.h"
#include "format/embedding_choice.h"
#include "kernels/cpu_features.h"
#include "kernels/machine_limits.h"
#include "runtime/model.h"
#include "runtime/model_source.h"

namespace bitsmith {
namespace {

struct BenchCommand {
  CommonOptions common;
  std::string model, shape, representation, embedding;
  int64_t prompt_tokens = 512, generate_tokens = 128, repeats = 3;

  void run();

 private:
  ModelWeights weights(const RunContext& context) const;
};

// Tokens per second of the repeats.
struct Rates {
  double median = 0, best = 0;
  explicit Rates(std::vector<double> rates) {
    std::sort(rates.begin(), rates.end());
    const size_t n = rates.size();
    median = (rates[(n - 1) / 2] + rates[n / 2]) / 2;
    best = rates.back();
  }
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double prompt_rate(RuntimeModel& model, std::span<const int32_t> tokens,
                   const RunContext& context) {
  KvCache cache(model.plan(), std::ssize(tokens));
  std::vector<float> logits(static_cast<size_t>(model.plan().vocab_size));
  const size_t hidden_size = static_cast<size_t>(model.plan().hidden_size);
  const auto start = std::chrono::steady_clock::now();
  std::vector<float> last;
  model.prefill(tokens, cache, [&](std::span<const float> hidden) {
    const auto row = hidden.last(hidden_size);
    last.assign(row.begin(), row.end());
    return !context.cancelled();
  });
  model.logits(last, Products::kSingle, logits);
  return static_cast<double>(tokens.size()) / seconds_since(start);
}

// From an empty context on, as one token's weights are the limit then and not the cache.
double generate_rate(RuntimeModel& model, std::span<const int32_t> tokens,
                     const RunContext& context) {
  KvCache cache(model.plan(), std::ssize(tokens));
  std::vector<float> hidden(static_cast<size_t>(model.plan().hidden_size));
  std::vector<float> logits(static_cast<size_t>(model.plan().vocab_size));
  const auto start = std::chrono::steady_clock::now();
  for (const int32_t token : tokens) {
    const TokenStep row{token, &cache};
    model.forward({&row, 1}, Products::kSingle, hidden);
    model.logits(hidden, Products::kSingle, logits);
    if (context.cancelled()) break;
  }
  return static_cast<double>(tokens.size()) / seconds_since(start);
}

ModelWeights BenchCommand::weights(const RunContext& context) const {
  if (shape.empty() == model.empty())
    throw UsageError("bench needs either a MODEL or --shape CONFIG.json");
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

void BenchCommand::run() {
  const RunContext context = run_context(common);
  RuntimeModel runtime(weights(context), context.threads);
  Random random(common.seed);
  const auto random_tokens = [&](int64_t count) {
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    for (int32_t& token : tokens)
      token = static_cast<int32_t>(random.below(static_cast<uint32_t>(runtime.plan().vocab_size)));
    return tokens;
  };
  const std::vector<int32_t> prompt = random_tokens(prompt_tokens);
  const std::vector<int32_t> answer = random_tokens(generate_tokens);

  generate_rate(runtime, std::span(answer).first(1), context);  // first touch of everything
  std::vector<double> prompt_rates, generate_rates;
  for (int64_t i = 0; i < repeats; ++i) {
    prompt_rates.push_back(prompt_rate(runtime, prompt, context));
    generate_rates.push_back(generate_rate(runtime, answer, context));
    if (context.cancelled())
      throw Interrupted("stopped; nothing is kept, the same command measures anew");
  }
  const Rates prefill(prompt_rates), decode(generate_rates);
  const uint64_t peak = peak_memory_bytes();  // before the buffer of the bandwidth measurement
  const uint64_t buffer = std::min<uint64_t>(uint64_t{1} << 30, available_memory_bytes() / 4);
  const double bandwidth = read_bandwidth(runtime.pool(), static_cast<int64_t>(buffer));
  const uint64_t bytes = bytes_per_token(runtime.weights());
  const double read = static_cast<double>(bytes) * decode.median;

  const OrderedJson json = {{"isa", isa_name(selected_isa())},
                            {"threads", context.threads},
                            {"prompt_tokens", prompt_tokens},
                            {"prompt_tokens_per_second", prefill.median},
                            {"prompt_tokens_per_second_best", prefill.best},
                            {"generate_tokens", generate_tokens},
                            {"tokens_per_second", decode.median},
                            {"tokens_per_second_best", decode.best},
                            {"bytes_per_token", bytes},
                            {"bytes_per_second", read},
                            {"memory_bandwidth", bandwidth},
                            {"bandwidth_ratio", read / bandwidth},
                            {"peak_memory_bytes", peak}};
  char text[700];
  std::snprintf(text, sizeof(text),
                "kernels   %s, %d threads\n"
                "prompt    %8.1f tokens/s median, %.1f best (%lld tokens, %lld repeats)\n"
                "generate  %8.1f tokens/s median, %.1f best (%lld tokens)\n"
                "weights   %8s read a token: %.2f GB/s, %.0f %% of the %.2f GB/s measured now\n"
                "memory    %s peak\n",
                isa_name(selected_isa()), context.threads, prefill.median, prefill.best,
                static_cast<long long>(prompt_tokens), static_cast<long long>(repeats),
                decode.median, decode.best, static_cast<long long>(generate_tokens),
                format_megabytes(static_cast<double>(bytes)).c_str(), read / 1e9,
                100 * read / bandwidth, bandwidth / 1e9,
                format_bytes(static_cast<double>(peak)).c_str());
  print_result(common, json, text);
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
  command->add_option("--representation", bench->representation,
                      "With --shape: representation of the linear layers (default: bfloat16)");
  command->add_option("--embedding", bench->embedding,
                      "With --shape: embedding and head in 16, 8 or 4 bits, or a representation "
                      "(default: bfloat16)");
  command->add_option("--prompt-tokens", bench->prompt_tokens, "Length of the prompt")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--generate-tokens", bench->generate_tokens, "Tokens generated")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--repeats", bench->repeats, "Repeats; median and best are shown")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->callback([bench] { bench->run(); });
}

}  // namespace bitsmith
