// What the kernel tests share: the levels of this machine, random data, comparison by norm.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <vector>

#include "base/random.h"
#include "kernels/aligned_buffer.h"
#include "kernels/kernel_table.h"

namespace bitsmith {

// The levels above scalar that this processor has.
inline std::vector<KernelTable> vector_levels() {
  std::vector<KernelTable> tables;
  for (const Isa isa : kIsaLevels) {
    if (isa != Isa::scalar && cpu_supports(isa)) tables.push_back(make_kernel_table(isa));
  }
  return tables;
}

// Scalar as well.
inline std::vector<KernelTable> all_levels() {
  std::vector<KernelTable> tables = vector_levels();
  tables.insert(tables.begin(), make_kernel_table(Isa::scalar));
  return tables;
}

inline AlignedBuffer<float> normal_values(int64_t count, Random& random) {
  AlignedBuffer<float> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(random.normal());
  return values;
}

// Activations as language models have them: one in 30 is some ten times larger.
inline AlignedBuffer<float> outlier_values(int64_t count, Random& random) {
  AlignedBuffer<float> values = normal_values(count, random);
  for (int64_t i = 0; i < count; ++i) values[i] *= random.below(30) == 0 ? 10.0f : 1.0f;
  return values;
}

// |found - expected| <= tolerance * |expected|; on failure the worst element is shown.
inline void expect_near_by_norm(const float* found, const float* expected, int64_t count,
                                double tolerance) {
  double error = 0, norm = 0, worst = -1;
  int64_t worst_at = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double difference = double{found[i]} - expected[i];
    error += difference * difference;
    norm += double{expected[i]} * expected[i];
    if (!(std::abs(difference) <= worst)) {
      worst = std::abs(difference);
      worst_at = i;
    }
  }
  EXPECT_LE(std::sqrt(error), tolerance * std::sqrt(norm))
      << "worst at " << worst_at << ": " << found[worst_at] << " for " << expected[worst_at];
}

// Both sides sum in float32, in different orders: each errs by about sqrt(n) eps of the norm.
inline double float_sum_tolerance(int64_t terms) {
  return 2 * 0x1p-24 * std::sqrt(static_cast<double>(terms)) + 1e-7;
}

}  // namespace bitsmith
