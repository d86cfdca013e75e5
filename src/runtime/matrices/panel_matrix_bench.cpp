// Many tokens: operations a second including the decoding of the weights, and their share of the
// multiply-add rate that was measured just before.
#include "runtime/matrices/bench_support.h"

namespace bitsmith {
namespace {

void many_tokens(benchmark::State& state, const std::string& kind) {
  ThreadPool& pool = bench_pool(static_cast<int>(state.range(0)));
  const int64_t tokens = state.range(1), in = state.range(2), out = state.range(3);
  const auto matrix = bench_matrix(kind, out, in);
  const std::vector<float> x = random_inputs(tokens * in);
  std::vector<float> y(static_cast<size_t>(tokens * out));
  const double peak = multiply_add_rate(pool);
  const double seconds =
      fastest_seconds(state, pool, [&] { matrix->multiply(x.data(), tokens, y.data(), pool); });
  const double rate = 2.0 * static_cast<double>(tokens * in * out) / seconds;
  state.counters["GFLOP/s"] = rate / 1e9;
  state.counters["of_peak"] = rate / peak;
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"threads", "tokens", "in", "out"});
  for (const int threads : {1, default_threads()}) {
    bench->Args({threads, 16, 576, 1536});
    bench->Args({threads, 512, 576, 1536});
    bench->Args({threads, 512, 1536, 576});
    bench->Args({threads, 512, 4096, 4096});
  }
  settings(bench);
}

BENCHMARK_CAPTURE(many_tokens, bf16, "bf16")->Apply(shapes);
BENCHMARK_CAPTURE(many_tokens, int4g64, "int4g64")->Apply(shapes);
BENCHMARK_CAPTURE(many_tokens, aq2x8g8, "aq2x8g8")->Apply(shapes);
BENCHMARK_CAPTURE(many_tokens, gvq2d3b_s32, "gvq2d3b-s32")->Apply(shapes);
BENCHMARK_CAPTURE(many_tokens, e8p, "e8p")->Apply(shapes);

}  // namespace
}  // namespace bitsmith
