// The choice of a candidate for each unit, so that what it costs is least within a size: the
// multiple-choice knapsack problem. Plain numbers, nothing of models.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace bitsmith {

// Its candidates, 1 to 255, in any order; some may be worse than others in both.
struct AllocationUnit {
  std::vector<uint64_t> bytes;
  std::vector<double> kl;  // at least 0
};

struct Allocation {
  std::vector<size_t> choices;  // of each unit
  uint64_t bytes = 0;           // sums
  double kl = 0;
};

inline constexpr int64_t kAllocationCells = int64_t{1} << 17;

// Least KL with at most `capacity` bytes; nothing where the smallest candidates have more. Exact
// where the range of sizes has at most `cells` values; else sizes are rounded up to so many steps,
// and what that leaves is spent by single exchanges. Time: cells x candidates of all units; memory:
// a byte for each cell and unit.
std::optional<Allocation> least_kl(const std::vector<AllocationUnit>& units, uint64_t capacity,
                                   int64_t cells = kAllocationCells);

// Fewest bytes with a KL of at most `kl`, as exact; nothing where no choice has so little.
std::optional<Allocation> fewest_bytes(const std::vector<AllocationUnit>& units, double kl,
                                       int64_t cells = kAllocationCells);

}  // namespace bitsmith
