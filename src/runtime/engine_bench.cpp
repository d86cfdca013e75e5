// Generation through the engine on random weights of SmolLM2-135M's shape: what the engine costs
// over the bare loop (`overhead_percent`), and how many tokens eight requests side by side get for
// each token of one (`over_one`).
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>

#include "architecture/family.h"
#include "runtime/engine.h"

namespace bitsmith {
namespace {

constexpr int64_t kTokens = 64;
const std::vector<int32_t> kPrompt = {1, 2, 3, 4};

RuntimeModel& model_of(const std::string& representation) {
  static std::map<std::string, std::unique_ptr<RuntimeModel>> models;
  auto& model = models[representation];
  if (model) return *model;
  const Json config = {{"model_type", "llama"},       {"hidden_size", 576},
                       {"intermediate_size", 1536},   {"num_hidden_layers", 30},
                       {"num_attention_heads", 9},    {"num_key_value_heads", 3},
                       {"vocab_size", 49152},         {"max_position_embeddings", 8192},
                       {"rms_norm_eps", 1e-5},        {"rope_theta", 100000.0},
                       {"tie_word_embeddings", true}, {"hidden_act", "silu"}};
  std::optional<RepresentationSpec> spec;
  if (representation != "bf16") spec = parse_representation(representation);
  model = std::make_unique<RuntimeModel>(
      random_weights(plan_model(config, "config.json"), spec, {}, 1), default_threads());
  return *model;
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void bare_loop(RuntimeModel& model) {
  KvCache cache(model.plan(), 256);
  Sampler sampler({.temperature = 0});
  std::vector<float> hidden(static_cast<size_t>(model.plan().hidden_size)),
      logits(static_cast<size_t>(model.plan().vocab_size));
  model.prefill(kPrompt, cache, [&](std::span<const float> all) {
    std::ranges::copy(all.last(hidden.size()), hidden.begin());
    return true;
  });
  for (int64_t i = 0; i < kTokens; ++i) {
    model.logits(hidden, Products::kSingle, logits);
    const TokenStep row{sampler.sample(logits, cache.tokens()), &cache};
    if (i + 1 < kTokens) model.forward({&row, 1}, Products::kSingle, hidden);
  }
}

void through_engine(RuntimeModel& model, int64_t requests, Products products) {
  Engine engine(
      model, {.context = 256, .max_batch = requests, .products = products, .reuse = Reuse::kOff});
  for (int64_t i = 0; i < requests; ++i) {
    Request request;
    request.prompt = kPrompt;
    request.sampling.temperature = 0;
    request.max_tokens = kTokens;
    engine.submit(std::move(request));
  }
  while (engine.step()) {
  }
}

void generate(benchmark::State& state, const std::string& representation) {
  RuntimeModel& model = model_of(representation);
  bare_loop(model);  // first touch of everything
  double bare = 1e30, one = 1e30, eight = 1e30, eight_int8 = 1e30;
  for (auto _ : state) {
    bare = std::min(bare, seconds_of([&] { bare_loop(model); }));
    one = std::min(one, seconds_of([&] { through_engine(model, 1, Products::kSingle); }));
    eight = std::min(eight, seconds_of([&] { through_engine(model, 8, Products::kSingle); }));
    eight_int8 =
        std::min(eight_int8, seconds_of([&] { through_engine(model, 8, Products::kShared); }));
  }
  state.counters["tokens_per_second"] = static_cast<double>(kTokens) / one;
  state.counters["overhead_percent"] = 100 * (one / bare - 1);
  state.counters["over_one_single"] = 8 * one / eight;
  state.counters["over_one_int8"] = 8 * one / eight_int8;
}

BENCHMARK_CAPTURE(generate, int4g64, "int4g64")->Iterations(5)->Unit(benchmark::kSecond);
BENCHMARK_CAPTURE(generate, gvq2d2b, "gvq2d2b")->Iterations(5)->Unit(benchmark::kSecond);
BENCHMARK_CAPTURE(generate, aq2x8g8, "aq2x8g8")->Iterations(5)->Unit(benchmark::kSecond);
BENCHMARK_CAPTURE(generate, bf16, "bf16")->Iterations(5)->Unit(benchmark::kSecond);

}  // namespace
}  // namespace bitsmith
