// Many tokens: operations a second including the decoding of the weights, their share of the
// multiply-add rate that was measured just before (`of_peak`: the floor of the time is 2 tokens in
// out operations, of int8 or float32 numbers), and how many tokens are done in the time of one
// alone (`over_one`).
#include "runtime/matrices/bench_support.h"

namespace bitsmith {
namespace {

void many_tokens(benchmark::State& state, const std::string& kind, Products products) {
  ThreadPool& pool = bench_pool(static_cast<int>(state.range(0)));
  const int64_t tokens = state.range(1), in = state.range(2), out = state.range(3);
  const auto matrix = bench_matrix(kind, out, in);
  const std::vector<float> x = random_inputs(tokens * in);
  std::vector<float> y(static_cast<size_t>(tokens * out));
  const double peak =
      products == Products::kInt8 ? int8_multiply_add_rate(pool) : multiply_add_rate(pool);
  double one = 1e30;
  for (int i = 0; i < 20; ++i) {
    const double begin = limit_seconds(pool);
    matrix->multiply(Products::kSingle, x.data(), 1, y.data(), pool);
    one = std::min(one, limit_seconds(pool) - begin);
  }
  const double seconds = fastest_seconds(
      state, pool, [&] { matrix->multiply(products, x.data(), tokens, y.data(), pool); });
  const double rate = 2.0 * static_cast<double>(tokens * in * out) / seconds;
  state.counters["GOP/s"] = rate / 1e9;
  state.counters["of_peak"] = rate / peak;
  state.counters["over_one"] = static_cast<double>(tokens) * one / seconds;
}

// Matrices of a model of 1.1 billion weights: answers side by side, and prompts.
void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"threads", "tokens", "in", "out"});
  for (const int threads : {1, default_threads()}) {
    for (const int64_t tokens : {1, 2, 4, 8, 16, 256}) bench->Args({threads, tokens, 2048, 5632});
    bench->Args({threads, 256, 5632, 2048});
    bench->Args({threads, 8, 576, 1536});
  }
  settings(bench);
}

#define BITSMITH_MANY_TOKENS(name, kind)                                                 \
  BENCHMARK_CAPTURE(many_tokens, name##_single, kind, Products::kSingle)->Apply(shapes); \
  BENCHMARK_CAPTURE(many_tokens, name##_int8, kind, Products::kInt8)->Apply(shapes);     \
  BENCHMARK_CAPTURE(many_tokens, name##_exact, kind, Products::kExact)->Apply(shapes)

BITSMITH_MANY_TOKENS(bf16, "bf16");
BITSMITH_MANY_TOKENS(int4g64, "int4g64");
BITSMITH_MANY_TOKENS(int2g64, "int2g64");
BITSMITH_MANY_TOKENS(gvq2d2b, "gvq2d2b");
BITSMITH_MANY_TOKENS(gvq2d3b_s32, "gvq2d3b-s32");
BITSMITH_MANY_TOKENS(gvq4d2b, "gvq4d2b");
BITSMITH_MANY_TOKENS(aq2x8g8, "aq2x8g8");
BITSMITH_MANY_TOKENS(e8p, "e8p");

}  // namespace
}  // namespace bitsmith
