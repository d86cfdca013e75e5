// One token through all matrices of a model of SmolLM2-135M's shape, block by block as a decoder
// does it, with and without the head (bfloat16); each matrix has codebooks and scales of its own.
// `over_bf16` is the speed relative to the bf16 run before it.
#include "runtime/matrices/bench_support.h"

namespace bitsmith {
namespace {

constexpr int64_t kHidden = 576, kKeyValue = 192, kIntermediate = 1536, kBlocks = 30;
constexpr int64_t kVocabulary = 49152;

struct Model {
  std::vector<std::unique_ptr<WeightMatrix>> matrices;

  Model(const std::string& kind, bool head) {
    for (int64_t block_index = 0; block_index < kBlocks; ++block_index) {
      for (const auto& [out, in] : {std::pair<int64_t, int64_t>{kHidden, kHidden},
                                    {kKeyValue, kHidden},
                                    {kKeyValue, kHidden},
                                    {kHidden, kHidden},
                                    {kIntermediate, kHidden},
                                    {kIntermediate, kHidden},
                                    {kHidden, kIntermediate}}) {
        matrices.push_back(bench_matrix(kind, out, in));
      }
    }
    if (head) matrices.push_back(bench_matrix("bf16", kVocabulary, kHidden));
  }
};

void model_token(benchmark::State& state, const std::string& kind) {
  const int threads = static_cast<int>(state.range(0));
  const bool head = state.range(1) != 0;
  ThreadPool& pool = bench_pool(threads);
  static std::map<std::pair<std::string, bool>, std::unique_ptr<Model>> models;
  auto& model = models[{kind, head}];
  if (!model) model = std::make_unique<Model>(kind, head);
  const std::vector<float> x = random_inputs(kIntermediate);
  std::vector<float> y(static_cast<size_t>(kVocabulary));
  static std::map<std::pair<int, bool>, double> bf16_seconds;  // fastest token so far
  uint64_t bytes = 0;
  for (const auto& matrix : model->matrices) bytes += matrix->bytes();
  const double fastest = fastest_seconds(state, pool, [&] {
    for (const auto& matrix : model->matrices)
      matrix->multiply(Products::kSingle, x.data(), 1, y.data(), pool);
  });
  if (kind == "bf16") {
    double& best = bf16_seconds.try_emplace({threads, head}, 1e30).first->second;
    best = std::min(best, fastest);
  }
  state.counters["MB"] = static_cast<double>(bytes) / 1e6;
  state.counters["best_us"] = fastest * 1e6;
  if (bf16_seconds.contains({threads, head})) {
    state.counters["over_bf16"] = bf16_seconds[{threads, head}] / fastest;
  }
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"threads", "head"});
  for (const int threads : {1, default_threads()}) {
    for (const int head : {0, 1}) bench->Args({threads, head});
  }
  settings(bench);
}

BENCHMARK_CAPTURE(model_token, bf16, "bf16")->Apply(shapes);
BENCHMARK_CAPTURE(model_token, aq2x8g8, "aq2x8g8")->Apply(shapes);
BENCHMARK_CAPTURE(model_token, aq3x8g8, "aq3x8g8")->Apply(shapes);
BENCHMARK_CAPTURE(model_token, gvq2d2b, "gvq2d2b")->Apply(shapes);
BENCHMARK_CAPTURE(model_token, gvq2d3b_s32, "gvq2d3b-s32")->Apply(shapes);
BENCHMARK_CAPTURE(model_token, e8p, "e8p")->Apply(shapes);
BENCHMARK_CAPTURE(model_token, had_e8p, "had:e8p")->Apply(shapes);
BENCHMARK_CAPTURE(model_token, int8g64, "int8g64")->Apply(shapes);
BENCHMARK_CAPTURE(model_token, int4g64, "int4g64")->Apply(shapes);
BENCHMARK_CAPTURE(model_token, int3g64, "int3g64")->Apply(shapes);
BENCHMARK_CAPTURE(model_token, int2g64, "int2g64")->Apply(shapes);
BENCHMARK_CAPTURE(model_token, int4g72, "int4g72")->Apply(shapes);
BENCHMARK_CAPTURE(model_token, aq1x12g8, "aq1x12g8")->Apply(shapes);

}  // namespace
}  // namespace bitsmith
