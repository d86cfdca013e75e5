#include "runtime/memory_bandwidth.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

namespace bitsmith {

double measure_read_bandwidth(ThreadPool& pool, size_t bytes, int repeats) {
  // Pieces of 1 MiB, each summed in independent chains so that loads, not additions, limit.
  constexpr size_t kPiece = (1 << 20) / sizeof(uint64_t);
  const size_t pieces = std::max<size_t>(1, bytes / sizeof(uint64_t) / kPiece);
  std::vector<uint64_t> buffer(pieces * kPiece);
  std::vector<uint64_t> sums(pieces);
  pool.run(static_cast<int64_t>(pieces), [&](int64_t p) {  // every page exists and is not shared
    std::fill_n(buffer.begin() + p * static_cast<int64_t>(kPiece), kPiece, uint64_t(p) + 1);
  });
  double best = 0;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    pool.run(static_cast<int64_t>(pieces), [&](int64_t p) {
      constexpr size_t kChains = 32;
      const uint64_t* data = &buffer[static_cast<size_t>(p) * kPiece];
      uint64_t chains[kChains] = {};
      for (size_t i = 0; i < kPiece; i += kChains)
        for (size_t j = 0; j < kChains; ++j) chains[j] += data[i + j];
      for (const uint64_t chain : chains) sums[static_cast<size_t>(p)] += chain;
    });
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, static_cast<double>(buffer.size() * sizeof(uint64_t)) / seconds);
  }
  // The sums are used, so that the loop cannot be removed.
  return sums[0] == 0 ? 0 : best;
}

}  // namespace bitsmith
