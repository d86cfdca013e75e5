#include "compressor/budget/allocation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace bitsmith {
namespace {

std::vector<AllocationUnit> random_units(std::mt19937& random, size_t count, uint64_t most_bytes) {
  std::vector<AllocationUnit> units(count);
  for (AllocationUnit& unit : units) {
    const size_t candidates = 1 + random() % 4;
    for (size_t c = 0; c < candidates; ++c) {
      unit.bytes.push_back(1 + random() % most_bytes);
      unit.kl.push_back(static_cast<double>(random() % 1000) / 997);
    }
  }
  return units;
}

// Calls f(bytes, kl) for every choice.
template <typename F>
void for_each_choice(const std::vector<AllocationUnit>& units, const F& f, size_t unit = 0,
                     uint64_t bytes = 0, double kl = 0) {
  if (unit == units.size()) return f(bytes, kl);
  for (size_t c = 0; c < units[unit].bytes.size(); ++c)
    for_each_choice(units, f, unit + 1, bytes + units[unit].bytes[c], kl + units[unit].kl[c]);
}

void expect_sums(const std::vector<AllocationUnit>& units, const Allocation& allocation) {
  ASSERT_EQ(allocation.choices.size(), units.size());
  uint64_t bytes = 0;
  double kl = 0;
  for (size_t u = 0; u < units.size(); ++u) {
    bytes += units[u].bytes.at(allocation.choices[u]);
    kl += units[u].kl.at(allocation.choices[u]);
  }
  EXPECT_EQ(allocation.bytes, bytes);
  EXPECT_DOUBLE_EQ(allocation.kl, kl);
}

TEST(Allocation, LeastKlIsThatOfAllChoices) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    const auto units = random_units(random, 1 + random() % 6, 40);
    const uint64_t capacity = random() % 200;
    double best = std::numeric_limits<double>::infinity();
    for_each_choice(units, [&](uint64_t bytes, double kl) {
      if (bytes <= capacity) best = std::min(best, kl);
    });
    const auto found = least_kl(units, capacity);
    ASSERT_EQ(found.has_value(), std::isfinite(best));
    if (!found) continue;
    expect_sums(units, *found);
    EXPECT_LE(found->bytes, capacity);
    EXPECT_DOUBLE_EQ(found->kl, best);
  }
}

TEST(Allocation, FewestBytesAreThoseOfAllChoices) {
  std::mt19937 random(2);
  for (int round = 0; round < 200; ++round) {
    const auto units = random_units(random, 1 + random() % 6, 40);
    const double limit = static_cast<double>(random() % 3000) / 1000;
    uint64_t best = std::numeric_limits<uint64_t>::max();
    for_each_choice(units, [&](uint64_t bytes, double kl) {
      if (kl <= limit) best = std::min(best, bytes);
    });
    const auto found = fewest_bytes(units, limit);
    ASSERT_EQ(found.has_value(), best != std::numeric_limits<uint64_t>::max());
    if (!found) continue;
    expect_sums(units, *found);
    EXPECT_LE(found->kl, limit);
    EXPECT_EQ(found->bytes, best);
  }
}

// Sizes far beyond the cells: within the capacity, near to the best, and little left unspent.
TEST(Allocation, CoarseCellsStayWithinTheCapacity) {
  std::mt19937 random(3);
  for (int round = 0; round < 20; ++round) {
    std::vector<AllocationUnit> units(100);
    uint64_t least = 0, most = 0;
    for (AllocationUnit& unit : units) {
      const uint64_t weights = 100'000 + random() % 1'000'000;
      const double weight = 0.001 + static_cast<double>(random() % 1000) / 1e5;
      for (int bits = 1; bits <= 8; ++bits) {  // KL falls by four for each bit
        unit.bytes.push_back(weights * static_cast<uint64_t>(bits) / 8);
        unit.kl.push_back(weight * std::pow(0.25, bits));
      }
      least += unit.bytes.front();
      most += unit.bytes.back();
    }
    const uint64_t capacity = least + (most - least) / 3;
    const auto coarse = least_kl(units, capacity, 1 << 12), fine = least_kl(units, capacity);
    ASSERT_TRUE(coarse && fine);
    expect_sums(units, *coarse);
    EXPECT_LE(coarse->bytes, capacity);
    EXPECT_LE(fine->bytes, capacity);
    EXPECT_GT(static_cast<double>(fine->bytes), 0.995 * static_cast<double>(capacity));
    EXPECT_LT(coarse->kl, 1.05 * fine->kl);
    const auto all = least_kl(units, 2 * most);
    EXPECT_EQ(all->bytes, most);
    const auto back = fewest_bytes(units, fine->kl);
    ASSERT_TRUE(back);
    EXPECT_LT(static_cast<double>(back->bytes), 1.005 * static_cast<double>(capacity));
    EXPECT_EQ(fewest_bytes(units, all->kl)->bytes, most);
  }
}

}  // namespace
}  // namespace bitsmith
