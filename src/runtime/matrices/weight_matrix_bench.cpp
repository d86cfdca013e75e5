// One token through one large matrix: bytes a second, and their share of the memory bandwidth that
// was measured just before.
#include "runtime/matrices/bench_support.h"

namespace bitsmith {
namespace {

void one_token(benchmark::State& state, const std::string& kind) {
  ThreadPool& pool = bench_pool(static_cast<int>(state.range(0)));
  constexpr int64_t kIn = 4096;
  // A gibibyte of dense weights; of codes 2^27, 34 MB and more.
  static std::map<std::string, std::unique_ptr<WeightMatrix>> matrices;
  if (!matrices.contains(kind)) {
    matrices.clear();
    const int64_t rows = kind == "f32" ? 65536 : kind == "bf16" ? 131072 : 32768;
    matrices[kind] = bench_matrix(kind, rows, kIn);
  }
  const std::vector<float> x = random_inputs(kIn);
  std::vector<float> y(static_cast<size_t>(matrices[kind]->out_features));
  const double bandwidth = memory_bandwidth(pool);
  const double seconds = fastest_seconds(state, pool, [&] {
    matrices[kind]->multiply(Products::kSingle, x.data(), 1, y.data(), pool);
  });
  const double rate = static_cast<double>(matrices[kind]->bytes()) / seconds;
  state.counters["GB/s"] = rate / 1e9;
  state.counters["of_memory"] = rate / bandwidth;
}

#define BITSMITH_ONE_TOKEN(name, kind) \
  BENCHMARK_CAPTURE(one_token, name, kind)->Arg(1)->Arg(default_threads())->Apply(settings)

BITSMITH_ONE_TOKEN(bf16, "bf16");
BITSMITH_ONE_TOKEN(f32, "f32");
BITSMITH_ONE_TOKEN(int8g64, "int8g64");
BITSMITH_ONE_TOKEN(int4g64, "int4g64");
BITSMITH_ONE_TOKEN(int3g64, "int3g64");
BITSMITH_ONE_TOKEN(int2g64, "int2g64");
BITSMITH_ONE_TOKEN(aq2x8g8, "aq2x8g8");
BITSMITH_ONE_TOKEN(gvq2d2b, "gvq2d2b");
BITSMITH_ONE_TOKEN(gvq2d3b_s32, "gvq2d3b-s32");
BITSMITH_ONE_TOKEN(gvq2d4b_s32, "gvq2d4b-s32");
BITSMITH_ONE_TOKEN(gvq4d2b, "gvq4d2b");
BITSMITH_ONE_TOKEN(e8p, "e8p");
BITSMITH_ONE_TOKEN(e8p3, "e8p3");
BITSMITH_ONE_TOKEN(e8p4, "e8p4");

}  // namespace
}  // namespace bitsmith
