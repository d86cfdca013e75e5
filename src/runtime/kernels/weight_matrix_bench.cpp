// One token through one large matrix: bytes a second, and their share of the memory bandwidth that
// was measured just before. Far larger than any cache.
#include "runtime/kernels/bench_support.h"

namespace bitsmith {
namespace {

void one_token(benchmark::State& state, const std::string& kind) {
  ThreadPool& pool = bench_pool(static_cast<int>(state.range(0)));
  constexpr int64_t kIn = 4096;
  // A gibibyte of weights, but at most 2^31 of them.
  static std::map<std::string, std::unique_ptr<WeightMatrix>> matrices;
  auto& matrix = matrices[kind];
  if (!matrix) {
    matrices.clear();
    matrices[kind] = bench_matrix(kind, kind == "f32" ? 65536 : 131072, kIn);
  }
  const std::vector<float> x = random_inputs(kIn);
  std::vector<float> y(static_cast<size_t>(matrices[kind]->out_features));
  const double bandwidth = memory_bandwidth(pool);
  for (auto _ : state) matrices[kind]->multiply(x.data(), 1, y.data(), pool);
  const double bytes = static_cast<double>(matrices[kind]->bytes());
  const auto iterations = static_cast<double>(state.iterations());
  state.counters["GB/s"] =
      benchmark::Counter(bytes * iterations / 1e9, benchmark::Counter::kIsRate);
  state.counters["of_memory"] =
      benchmark::Counter(bytes * iterations / bandwidth, benchmark::Counter::kIsRate);
}

#define BITSMITH_ONE_TOKEN(name, kind) \
  BENCHMARK_CAPTURE(one_token, name, kind)->Arg(1)->Arg(default_threads())->Apply(repeat)

BITSMITH_ONE_TOKEN(bf16, "bf16");
BITSMITH_ONE_TOKEN(f32, "f32");
BITSMITH_ONE_TOKEN(int8g64, "int8g64");
BITSMITH_ONE_TOKEN(int4g64, "int4g64");
BITSMITH_ONE_TOKEN(int3g64, "int3g64");
BITSMITH_ONE_TOKEN(int2g64, "int2g64");
BITSMITH_ONE_TOKEN(aq2x8g8, "aq2x8g8");

}  // namespace
}  // namespace bitsmith
