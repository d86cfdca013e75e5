// The stages of one-shot quantization on one 4096 x 4096 linear, each with the ratio to its floor:
// the arithmetic that it cannot do without over the rate of matrix products of its precision,
// measured in the same run. BITSMITH_LAYER_SIZE gives another size.
#include <benchmark/benchmark.h>
#include "compressor/torch.h"

#include <chrono>
#include <cstdlib>

#include "compressor/model/gemm_rate.h"
#include "compressor/objective/inverse_factor.h"
#include "compressor/quantize/gvq_initial_codebooks.h"
#include "compressor/quantize/gvq_solve.h"
#include "compressor/quantize/quantizer.h"
#include "compressor/representation/kinds/additive_search.h"
#include "compressor/representation/kinds/e8p_search.h"
#include "compressor/representation/kinds/gvq_dequantize.h"
#include "compressor/representation/kinds/gvq_search.h"

namespace bitsmith {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int64_t linear_size() {
  const char* named = std::getenv("BITSMITH_LAYER_SIZE");
  return named != nullptr ? std::max(64L, std::atol(named)) : 4096;
}

// A made-up linear: heavy-tailed weights; inputs with a falling spectrum, channels of different
// sizes and a few outliers, as real ones have.
struct TestLinear {
  torch::Tensor weight, hessian, factor;
};

const TestLinear& linear() {
  static const TestLinear made = [] {
    const int64_t n = linear_size();
    torch::manual_seed(1);
    TestLinear l;
    const auto normal = torch::randn({n, n});
    l.weight = 0.02 * normal * (1 + 0.3 * torch::randn({n, n}).square());
    const auto mix = torch::randn({n / 8, n}) * torch::logspace(0, -1.5, n / 8).unsqueeze(1);
    const auto channels = torch::exp(0.6 * torch::randn({n}));
    channels.narrow(0, 0, 6).mul_(8);
    const auto low = mix * channels;
    l.hessian = torch::mm(low.t(), low) / 8;
    l.hessian.diagonal().add_(0.05 * channels.square());
    l.factor = inverse_factor(l.hessian, 0.01);
    return l;
  }();
  return made;
}

// Reports the share of the floor: flops over the rate.
void report(benchmark::State& state, double seconds, double flops, double rate) {
  const double a_run = seconds / static_cast<double>(state.iterations());
  state.counters["GFLOP"] = flops / 1e9;
  state.counters["floor_s"] = flops / rate;
  state.counters["of_floor"] = flops / rate / a_run;
}

template <typename Work>
void measure(benchmark::State& state, double flops, torch::Dtype dtype, const Work& work) {
  const double rate = gemm_rate(dtype, 1024, 1024, 1024);
  double seconds = 0;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    work();
    seconds += seconds_since(start);
  }
  report(state, seconds, flops, rate);
}

double cube() { return std::pow(static_cast<double>(linear_size()), 3); }

// Cholesky and the inverse of its factor: n^3 / 3 each.
void inverse_hessian_factor(benchmark::State& state) {
  const auto& hessian = linear().hessian;
  measure(state, 2.0 / 3 * cube(), torch::kDouble,
          [&] { benchmark::DoNotOptimize(inverse_factor(hessian, 0.01)); });
}

GvqSpec spec_of(const char* text) {
  return std::get<GvqSpec>(parse_representation(text).terms.front());
}

struct Gvq {
  GvqLayout layout;
  torch::Tensor centroids, codes;
};

Gvq random_gvq(const GvqSpec& spec) {
  const int64_t n = linear_size();
  const GvqLayout layout = gvq_layout(spec, n, n);
  return {layout,
          0.02 * torch::randn(
                     {layout.strips, layout.column_groups, spec.centroids(), layout.vector_size}),
          torch::randint(spec.centroids(), {n * n / layout.vector_size, 1}, torch::kInt)};
}

// 10 iterations of EM: K multiply-adds a weight each.
void codebook_start(benchmark::State& state, const char* text) {
  const GvqSpec spec = spec_of(text);
  const int64_t n = linear_size();
  const GvqLayout layout = gvq_layout(spec, n, n);
  const auto points = linear().weight.narrow(1, 0, layout.tile_columns).contiguous();
  const auto sub_hessians =
      torch::eye(layout.vector_size).repeat({layout.codes_per_tile_row(), 1, 1});
  constexpr int kIterations = 10;
  const double flops = 2.0 * kIterations * static_cast<double>(points.numel() * spec.centroids());
  measure(state, flops, torch::kFloat, [&] {
    benchmark::DoNotOptimize(initial_codebooks(points, {}, sub_hessians.contiguous(),
                                               layout.tile_rows, spec.centroids(),
                                               CodebookInit::kPlusPlus, kIterations, 1));
  });
}

// K multiply-adds a weight for the search, n / 2 for the error's way on.
void feedback_sweep(benchmark::State& state, const char* text) {
  const GvqSpec spec = spec_of(text);
  const Gvq g = random_gvq(spec);
  const double n = static_cast<double>(linear_size());
  measure(state, cube() + 2 * n * n * static_cast<double>(spec.centroids()), torch::kFloat, [&] {
    GvqSearch search(g.layout, g.centroids, {});
    benchmark::DoNotOptimize(
        search_with_feedback(search, g.codes, linear().weight, linear().factor));
  });
}

// (W - Q) H, then what changed codes do to the columns after: n / 2 for each weight if all change.
void coordinate_descent(benchmark::State& state, const char* text) {
  const GvqSpec spec = spec_of(text);
  const Gvq g = random_gvq(spec);
  const double n = static_cast<double>(linear_size());
  measure(state, 3 * cube() + 2 * n * n * static_cast<double>(spec.centroids()), torch::kFloat,
          [&] {
            GvqSearch search(g.layout, g.centroids, {});
            const auto dense = gvq_decode(g.layout, g.centroids, g.codes, {});
            benchmark::DoNotOptimize(search_code_groups(search, dense, g.codes, linear().weight,
                                                        Objective(linear().hessian), {}));
          });
}

// One product with H an iteration, and one for the first residual.
void codebook_solve(benchmark::State& state, const char* text) {
  const Gvq g = random_gvq(spec_of(text));
  const GvqProblem problem{linear().weight, linear().hessian, g.layout, g.codes, {}};
  constexpr int kIterations = 4;
  measure(state, 2 * (kIterations + 1) * cube(), torch::kFloat,
          [&] { benchmark::DoNotOptimize(solve_centroids(problem, g.centroids, kIterations)); });
}

// All pairs of two codebooks for each group: an addition and a minimum each, at half the rate of
// multiply-adds.
void joint_pair_search(benchmark::State& state) {
  const int64_t n = linear_size(), rows = std::max<int64_t>(64, n / 16), g = 8;
  torch::manual_seed(2);
  const auto codebooks = 0.02 * torch::randn({2, 256, g}), scales = torch::ones({rows});
  const auto codes = torch::randint(256, {rows * n / g, 2}, torch::kInt);
  const auto target = linear().weight.narrow(0, 0, rows).contiguous();
  const double pairs = static_cast<double>(rows * n / g) * 65536;
  const auto diagonal = linear().hessian.diagonal().contiguous();
  measure(state, 2 * 2 * pairs, torch::kFloat, [&] {
    AdditiveSearch search(codebooks, scales, n / g);
    benchmark::DoNotOptimize(
        search_code_groups(search, {}, codes, target, Objective(diagonal), {}));
  });
}

// The points of a lattice codebook with error feedback: n / 2 for the error's way on. Its share of
// the rate shows what the searches cost, which look at few of the 2^16 points.
void lattice_sweep(benchmark::State& state, const char* text) {
  const auto spec = std::get<E8pSpec>(parse_representation(text).terms.front());
  const int64_t n = linear_size();
  const auto scales =
      linear().weight.square().mean(1, /*keepdim=*/true).sqrt().repeat({1, spec.stages()});
  if (spec.stages() == 2) scales.select(1, 1).mul_(0.3);
  const auto codes = torch::zeros({n * n / kE8Size, spec.stages()}, torch::kInt);
  measure(state, cube(), torch::kFloat, [&] {
    E8pSearch search(spec, scales, n / kE8Size);
    benchmark::DoNotOptimize(search_with_feedback(search, codes, linear().weight, linear().factor));
  });
}

BENCHMARK(inverse_hessian_factor)->Unit(benchmark::kSecond)->Iterations(2)->UseRealTime();
BENCHMARK_CAPTURE(codebook_start, gvq2d2b, "gvq2d2b")
    ->Unit(benchmark::kSecond)
    ->Iterations(2)
    ->UseRealTime();
BENCHMARK_CAPTURE(codebook_start, gvq4d2b, "gvq4d2b")
    ->Unit(benchmark::kSecond)
    ->Iterations(2)
    ->UseRealTime();
BENCHMARK_CAPTURE(feedback_sweep, gvq2d2b, "gvq2d2b")
    ->Unit(benchmark::kSecond)
    ->Iterations(2)
    ->UseRealTime();
BENCHMARK_CAPTURE(feedback_sweep, gvq4d2b, "gvq4d2b")
    ->Unit(benchmark::kSecond)
    ->Iterations(2)
    ->UseRealTime();
BENCHMARK_CAPTURE(coordinate_descent, gvq2d2b, "gvq2d2b")
    ->Unit(benchmark::kSecond)
    ->Iterations(2)
    ->UseRealTime();
BENCHMARK_CAPTURE(codebook_solve, gvq2d2b, "gvq2d2b")
    ->Unit(benchmark::kSecond)
    ->Iterations(2)
    ->UseRealTime();
BENCHMARK(joint_pair_search)->Unit(benchmark::kSecond)->Iterations(2)->UseRealTime();
BENCHMARK_CAPTURE(lattice_sweep, e8p, "e8p")
    ->Unit(benchmark::kSecond)
    ->Iterations(2)
    ->UseRealTime();
BENCHMARK_CAPTURE(lattice_sweep, e8p4, "e8p4")
    ->Unit(benchmark::kSecond)
    ->Iterations(2)
    ->UseRealTime();

}  // namespace
}  // namespace bitsmith
