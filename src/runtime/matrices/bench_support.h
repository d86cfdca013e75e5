// What the kernel benchmarks share: thread pools, limits of the machine, random matrices.
#pragma once
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/half.h"
#include "base/random.h"
#include "kernels/machine_limits.h"
#include "runtime/matrices/weight_matrix.h"

namespace bitsmith {

inline ThreadPool& bench_pool(int threads) {
  static std::map<int, std::unique_ptr<ThreadPool>> pools;
  auto& pool = pools[threads];
  if (!pool) pool = std::make_unique<ThreadPool>(threads);
  return *pool;
}

// Bytes a second from main memory, measured again for every benchmark: neighbors on the machine
// change it from minute to minute.
inline double memory_bandwidth(ThreadPool& pool) { return read_bandwidth(pool, int64_t{1} << 30); }

inline std::vector<float> random_inputs(int64_t count) {
  Random random(1);
  std::vector<float> x(static_cast<size_t>(count));
  for (float& v : x) v = static_cast<float>(random.normal());
  return x;
}

// "bf16", "f32" or a representation; random codes, or small numbers that are cheap to make.
inline std::unique_ptr<WeightMatrix> bench_matrix(const std::string& kind, int64_t out,
                                                  int64_t in) {
  if (kind == "bf16" || kind == "f32") {
    return make_dense_matrix(out, in, kind == "bf16", [](int64_t first, int64_t, auto rows) {
      for (size_t i = 0; i < rows.size(); ++i) rows[i] = 0.001f * ((first + i * 7) % 13);
    });
  }
  const QuantizedTensor tensor = allocate_quantized(parse_representation(kind), out, in);
  Random random(static_cast<uint64_t>(out * in));
  for (const TensorView& part : tensor.parts) {
    const auto bytes = mutable_part(tensor, part.name);
    if (part.dtype == DType::F16) {
      for (size_t i = 0; i < bytes.size(); i += 2) {
        const uint16_t value = float_to_fp16(static_cast<float>(random.normal()));
        std::memcpy(bytes.data() + i, &value, 2);
      }
    } else {
      for (std::byte& b : bytes) b = static_cast<std::byte>(random.next());
    }
  }
  return make_quantized_matrix(tensor);
}

// Runs the benchmark's loop; seconds of its fastest pass, by limit_seconds().
template <typename Pass>
double fastest_seconds(benchmark::State& state, const ThreadPool& pool, const Pass& pass) {
  double fastest = 1e30;
  for (auto _ : state) {
    const double begin = limit_seconds(pool);
    pass();
    fastest = std::min(fastest, limit_seconds(pool) - begin);
  }
  return fastest;
}

// Other work on the machine only ever makes a pass slower: counters are of the fastest of many.
inline void settings(benchmark::internal::Benchmark* bench) {
  bench->UseRealTime()->MinTime(1.0)->Unit(benchmark::kMicrosecond);
}

}  // namespace bitsmith
