#include "compressor/budget/allocation.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace bitsmith {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

uint64_t smallest(const AllocationUnit& unit) {
  return *std::min_element(unit.bytes.begin(), unit.bytes.end());
}

uint64_t sum_of_smallest(const std::vector<AllocationUnit>& units) {
  uint64_t sum = 0;
  for (const AllocationUnit& unit : units) sum += smallest(unit);
  return sum;
}

uint64_t sum_of_largest(const std::vector<AllocationUnit>& units) {
  uint64_t sum = 0;
  for (const AllocationUnit& unit : units)
    sum += *std::max_element(unit.bytes.begin(), unit.bytes.end());
  return sum;
}

double sum_of_kl(const std::vector<AllocationUnit>& units, const std::vector<size_t>& choices) {
  double sum = 0;
  for (size_t u = 0; u < units.size(); ++u) sum += units[u].kl[choices[u]];
  return sum;
}

// Dynamic programming over bytes above the smallest candidates', in cells, unit by unit.
class Knapsack {
 public:
  // As many cells as `range` bytes fill, and `slack` more.
  Knapsack(const std::vector<AllocationUnit>& units, uint64_t range, int64_t cells, size_t slack)
      : units_(units),
        cell_bytes_(std::max<uint64_t>(
            1, range / static_cast<uint64_t>(cells) + (range % static_cast<uint64_t>(cells) != 0))),
        size_(static_cast<size_t>(range / cell_bytes_) + 1 + slack),
        least_(size_, 0.0) {
    for (const AllocationUnit& unit : units) add(unit);
  }

  size_t size() const { return size_; }
  // Least KL of all units with at most so many cells.
  double least(size_t cell) const { return least_[cell]; }

  Allocation choices(size_t cell) const {
    Allocation allocation;
    allocation.choices.resize(units_.size());
    for (size_t u = units_.size(); u-- > 0;) {
      const size_t choice = taken_[u][cell];
      cell -= cells_of(units_[u], choice);
      allocation.choices[u] = choice;
      allocation.bytes += units_[u].bytes[choice];
    }
    allocation.kl = sum_of_kl(units_, allocation.choices);
    return allocation;
  }

 private:
  size_t cells_of(const AllocationUnit& unit, size_t candidate) const {
    const uint64_t above = unit.bytes[candidate] - smallest(unit);
    return static_cast<size_t>(above / cell_bytes_ + (above % cell_bytes_ != 0));
  }

  void add(const AllocationUnit& unit) {
    BITSMITH_CHECK(!unit.bytes.empty() && unit.bytes.size() <= 255 &&
                   unit.bytes.size() == unit.kl.size());
    std::vector<double> next(size_, kNever);
    std::vector<uint8_t> taken(size_, 0);
    for (size_t candidate = 0; candidate < unit.bytes.size(); ++candidate) {
      const size_t cost = cells_of(unit, candidate);
      for (size_t cell = cost; cell < size_; ++cell) {
        const double kl = least_[cell - cost] + unit.kl[candidate];
        if (kl < next[cell]) {
          next[cell] = kl;
          taken[cell] = static_cast<uint8_t>(candidate);
        }
      }
    }
    least_ = std::move(next);
    taken_.push_back(std::move(taken));
  }

  const std::vector<AllocationUnit>& units_;
  uint64_t cell_bytes_;
  size_t size_;
  std::vector<double> least_;
  std::vector<std::vector<uint8_t>> taken_;
};

// Spends what rounding left: the exchange of one unit's candidate that gains most, while one fits.
void exchange(const std::vector<AllocationUnit>& units, uint64_t capacity, Allocation& allocation) {
  while (true) {
    double most = 0;
    size_t best_unit = 0, best_choice = 0;
    for (size_t u = 0; u < units.size(); ++u) {
      const size_t now = allocation.choices[u];
      for (size_t c = 0; c < units[u].bytes.size(); ++c) {
        const double gain = units[u].kl[now] - units[u].kl[c];
        const uint64_t bytes = allocation.bytes - units[u].bytes[now] + units[u].bytes[c];
        if (gain > most && bytes <= capacity) {
          most = gain;
          best_unit = u;
          best_choice = c;
        }
      }
    }
    if (most == 0) return;
    size_t& choice = allocation.choices[best_unit];
    allocation.bytes += units[best_unit].bytes[best_choice] - units[best_unit].bytes[choice];
    choice = best_choice;
    allocation.kl = sum_of_kl(units, allocation.choices);
  }
}

}  // namespace

std::optional<Allocation> least_kl(const std::vector<AllocationUnit>& units, uint64_t capacity,
                                   int64_t cells) {
  const uint64_t least = sum_of_smallest(units);
  if (capacity < least) return std::nullopt;
  const Knapsack knapsack(units, std::min(capacity, sum_of_largest(units)) - least, cells,
                          /*slack=*/0);
  Allocation allocation = knapsack.choices(knapsack.size() - 1);
  exchange(units, capacity, allocation);
  return allocation;
}

std::optional<Allocation> fewest_bytes(const std::vector<AllocationUnit>& units, double kl,
                                       int64_t cells) {
  // Rounding takes a cell of each unit at most; the largest candidates shall fit.
  const Knapsack knapsack(units, sum_of_largest(units) - sum_of_smallest(units), cells,
                          /*slack=*/units.size());
  for (size_t cell = 0; cell < knapsack.size(); ++cell) {
    if (knapsack.least(cell) <= kl) return knapsack.choices(cell);
  }
  return std::nullopt;
}

}  // namespace bitsmith
