// Attention in a tuning step, forward and backward in bfloat16 on the quick-start model's shape:
// ours (compressor/model/attention.h) and LibTorch's, as a share of the rate of matrix products.
#include <benchmark/benchmark.h>
#include "compressor/torch.h"

#include <cmath>

#include "compressor/model/attention.h"
#include "compressor/model/gemm_rate.h"
#include "compressor/model/torch_threads.h"

namespace bitsmith {
namespace {

constexpr int64_t kWindows = 4, kLength = 512, kHeads = 9, kKeyHeads = 3, kHeadDim = 64;

torch::Tensor libtorch_attention(const torch::Tensor& q, const torch::Tensor& k,
                                 const torch::Tensor& v) {
  return at::scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                                          {}, /*dropout_p=*/0.0, /*is_causal=*/true, {},
                                          /*enable_gqa=*/true)
      .transpose(1, 2)
      .reshape({kWindows, kLength, -1});
}

void attention(benchmark::State& state, bool ours) {
  keep_freed_memory();
  const auto random = [](int64_t heads) {
    return torch::randn({kWindows, kLength, heads, kHeadDim})
        .to(torch::kBFloat16)
        .requires_grad_(true);
  };
  const auto q = random(kHeads), k = random(kKeyHeads), v = random(kKeyHeads);
  const auto direction = torch::randn({kWindows, kLength, kHeads * kHeadDim}).to(torch::kBFloat16);
  const AttentionOptions options = {.scale = 1 / std::sqrt(static_cast<double>(kHeadDim))};
  for (auto _ : state) {
    const auto out = ours ? causal_attention(q, k, v, options) : libtorch_attention(q, k, v);
    benchmark::DoNotOptimize(torch::autograd::grad({out}, {q, k, v}, {direction}));
  }
  // Two products forward and five backward, of the half below the diagonal.
  constexpr double kFlops = 7.0 * 2 * kWindows * kHeads * kHeadDim * kLength * (kLength + 1) / 2;
  state.counters["FLOP/s"] = benchmark::Counter(
      kFlops, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
  const double rate = gemm_rate(torch::kBFloat16, kWindows * kLength, 1536, 576);
  state.counters["floor_ms"] = 1e3 * kFlops / rate;
}

BENCHMARK_CAPTURE(attention, ours, true)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(attention, libtorch, false)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace bitsmith
