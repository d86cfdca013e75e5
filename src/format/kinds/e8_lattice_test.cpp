#include "format/kinds/e8_lattice.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

namespace bitsmith {
namespace {

int e8_norm(const E8Vector& v) { return std::inner_product(v.begin(), v.end(), v.begin(), 0); }
int e8_sum(const E8Vector& v) { return std::accumulate(v.begin(), v.end(), 0); }

// Whether a quarter of v is in E8 + 1/4.
bool in_shifted_e8(const E8Vector& v) {
  std::set<int> rests;  // of the coordinates of v - 1, in quarters, by 1/2 and by 1
  int total = 0;
  for (const int8_t value : v) {
    rests.insert(((value - 1) % 4 + 4) % 4);
    total += value - 1;
  }
  return rests.size() == 1 && *rests.begin() % 2 == 0 && total % 8 == 0;
}

TEST(E8p, PatternsAreThoseOfTheDefinition) {
  std::map<int, int> of_norm;  // of |q|^2
  std::set<E8Vector> different;
  const auto& patterns = e8p_patterns();
  for (size_t i = 0; i < patterns.size(); ++i) {
    for (const int8_t value : patterns[i]) EXPECT_TRUE(value > 0 && value % 2 == 1);
    EXPECT_EQ(e8_sum(patterns[i]) / 2 % 2, static_cast<int>(i / 128)) << i;
    ++of_norm[e8_norm(patterns[i]) / 4];
    different.insert(patterns[i]);
  }
  EXPECT_EQ(different.size(), 256u);
  // One pattern of norm 2, 8 of norm 4, ...: all that there are up to 10.
  EXPECT_EQ(of_norm, (std::map<int, int>{{2, 1}, {4, 8}, {6, 28}, {8, 64}, {10, 126}, {12, 29}}));
}

TEST(E8p, CodesAreDifferentPointsOfTheShiftedLattice) {
  std::set<E8Vector> points;
  for (int code = 0; code < 1 << 16; ++code) {
    const E8Vector point = e8p_point(static_cast<uint16_t>(code));
    ASSERT_TRUE(in_shifted_e8(point)) << code;
    points.insert(point);
    // Without the shift: the pattern with signs, of even sum.
    const int shift = code >> 15 != 0 ? -1 : 1;
    int total = 0;
    for (size_t i = 0; i < kE8Size; ++i) {
      const int q = (point[i] - shift) / 2;
      ASSERT_EQ(std::abs(q), e8p_patterns()[static_cast<size_t>(code & 255)][i]);
      if (i < 7) {
        ASSERT_EQ(q < 0, (code >> (8 + i) & 1) != 0);
      }
      total += q;
    }
    ASSERT_EQ(total % 4, 0) << code;
  }
  EXPECT_EQ(points.size(), size_t{1} << 16);
}

TEST(E8p, PointsLieAroundTheOrigin) {
  std::array<double, kE8Size> mean = {};
  const auto points = e8p_points();
  ASSERT_EQ(points.size(), kE8Size << 16);
  for (size_t i = 0; i < points.size(); ++i) mean[i % kE8Size] += points[i];
  for (const double total : mean) EXPECT_EQ(total, 0);
}

TEST(E8Short, HoldsTheShortVectorsOfTheLattice) {
  std::map<int, int> of_norm;
  std::set<E8Vector> different;
  for (const E8Vector& v : e8_short_vectors()) {
    std::set<int> rests;
    for (const int8_t value : v) rests.insert(std::abs(value) % 2);
    EXPECT_EQ(rests.size(), 1u);  // whole numbers or halves
    EXPECT_EQ(e8_sum(v) % 4, 0);
    ++of_norm[e8_norm(v) / 4];
    different.insert(v);
  }
  EXPECT_EQ(different.size(), 256u);
  EXPECT_EQ(of_norm, (std::map<int, int>{{0, 1}, {2, 240}, {4, 15}}));
  EXPECT_EQ(e8_short_points()[kE8Size], 0.5f * static_cast<float>(e8_short_vectors()[1][0]));
}

}  // namespace
}  // namespace bitsmith
