#include "format/kinds/hadamard_matrix.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "base/random.h"

namespace bitsmith {
namespace {

// Of the definition: factor (x) Sylvester's.
double entry(int64_t size, int64_t i, int64_t j) {
  const int64_t m = hadamard_factor(size), power = size / m;
  const double sylvester =
      std::popcount(static_cast<uint64_t>(i % power & j % power)) % 2 == 0 ? 1 : -1;
  if (m == 1) return sylvester;
  return sylvester * hadamard_matrix(m)[static_cast<size_t>(i / power * m + j / power)];
}

// Row by row.
std::vector<double> dense(int64_t size) {
  std::vector<double> h;
  for (int64_t i = 0; i < size; ++i)
    for (int64_t j = 0; j < size; ++j) h.push_back(entry(size, i, j));
  return h;
}

TEST(HadamardMatrix, RowsAreOrthogonalAndTheMatrixIsSymmetric) {
  for (const int64_t size : {2, 8, 12, 20, 28, 36, 24, 80, 56, 144}) {
    ASSERT_TRUE(is_hadamard_size(size));
    const std::vector<double> h = dense(size);
    const auto at = [&](int64_t i, int64_t j) { return h[static_cast<size_t>(i * size + j)]; };
    for (int64_t i = 0; i < size; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        ASSERT_EQ(std::abs(at(i, j)), 1);
        ASSERT_EQ(at(i, j), at(j, i)) << size;
        double product = 0;
        for (int64_t k = 0; k < size; ++k) product += at(i, k) * at(j, k);
        ASSERT_EQ(product, i == j ? static_cast<double>(size) : 0)
            << size << ": " << i << ", " << j;
      }
    }
  }
}

TEST(HadamardMatrix, FastProductsAreDenseOnes) {
  Random random(5);
  constexpr int64_t kBlocks = 2, kColumns = 19;
  for (const int64_t size : {2, 16, 12, 24, 40, 112, 288, 576}) {
    const int64_t n = kBlocks * size;
    const std::vector<double> h = dense(size);
    std::vector<float> x(static_cast<size_t>(n * kColumns));
    for (float& value : x) value = static_cast<float>(random.normal());
    // [kColumns, n] along rows; its first block of columns, transposed, down columns.
    std::vector<float> rows = x, one = x, columns(static_cast<size_t>(size * kColumns));
    hadamard_along_rows(rows.data(), kColumns, n, size);
    for (int64_t r = 0; r < kColumns; ++r) {
      hadamard_along_rows(&one[static_cast<size_t>(r * n)], 1, n, size);
      for (int64_t i = 0; i < size; ++i)
        columns[static_cast<size_t>(i * kColumns + r)] = x[static_cast<size_t>(r * n + i)];
    }
    EXPECT_EQ(rows, one);
    hadamard_down_columns(columns.data(), size, kColumns);
    for (int64_t r = 0; r < kColumns; ++r) {
      for (int64_t i = 0; i < n; ++i) {
        double wanted = 0;
        const int64_t begin = i / size * size;
        for (int64_t k = 0; k < size; ++k) {
          wanted += h[static_cast<size_t>((i - begin) * size + k)] *
                    x[static_cast<size_t>(r * n + begin + k)];
        }
        wanted /= std::sqrt(static_cast<double>(size));
        const float got = rows[static_cast<size_t>(r * n + i)];
        ASSERT_NEAR(got, wanted, 1e-5) << size << ": " << r << ", " << i;
        if (i >= size) continue;
        ASSERT_EQ(got, columns[static_cast<size_t>(i * kColumns + r)]) << size;
      }
    }
    // Its own inverse.
    hadamard_along_rows(rows.data(), kColumns, n, size);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(rows[i], x[i], 1e-5) << size;
  }
}

TEST(HadamardMatrix, SizesAreFourTimesSmallOddNumbersAndPowersOfTwo) {
  for (const int64_t size : {2, 4, 1024, 65536, 12, 24, 768, 20, 28, 36, 9216})
    EXPECT_TRUE(is_hadamard_size(size)) << size;
  for (const int64_t size : {-4, 0, 1, 3, 6, 10, 18, 44, 60, 100, 108})
    EXPECT_FALSE(is_hadamard_size(size)) << size;
  EXPECT_EQ(largest_hadamard_size(576, 1024), 576);
  EXPECT_EQ(largest_hadamard_size(1536, 1024), 768);
  EXPECT_EQ(largest_hadamard_size(1536, 4096), 1536);
  EXPECT_EQ(largest_hadamard_size(4096, 1024), 1024);
  EXPECT_EQ(largest_hadamard_size(960, 1024), 320);     // of 64 * 15
  EXPECT_EQ(largest_hadamard_size(11008, 1024), 256);   // 256 * 43
  EXPECT_EQ(largest_hadamard_size(5632, 1024), 512);    // 512 * 11
  EXPECT_EQ(largest_hadamard_size(14336, 1024), 1024);  // 28 * 32 is less
  EXPECT_EQ(largest_hadamard_size(6, 1024), 2);
  EXPECT_EQ(largest_hadamard_size(7, 1024), 1);
}

}  // namespace
}  // namespace bitsmith
