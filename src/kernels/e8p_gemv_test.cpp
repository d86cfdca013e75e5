#include "kernels/e8p_gemv.h"

#include <vector>

#include "kernels/test_support.h"

namespace bitsmith {
namespace {

constexpr int64_t kSize = 8;

// Tables of random levels, signs and points within their ranges, and an input for `codes` codes a
// row with the largest sums among it.
struct Problem {
  AlignedBuffer<uint16_t> levels{256}, codes;
  AlignedBuffer<int8_t> magnitudes{256 * kSize}, signs{512 * kSize}, short_points{256 * kSize};
  AlignedBuffer<uint8_t> short_codes;
  AlignedBuffer<int8_t> inputs;
  AlignedBuffer<int16_t> sums;
  AlignedBuffer<float> scales;
  int64_t per_row, blocks;

  Problem(int64_t codes_a_row, int64_t rows, Random& random)
      : codes(rows * codes_a_row + kE8pReadable / 2),
        short_codes(rows * codes_a_row + kE8pReadable),
        per_row(codes_a_row),
        blocks((codes_a_row + kE8pBlock - 1) / kE8pBlock) {
    for (int64_t k = 0; k < 256; ++k) {
      for (int64_t i = 0; i < kSize; ++i) {
        const int level = k == 0 ? 2 : static_cast<int>(random.below(3));
        levels[k] = static_cast<uint16_t>(levels[k] | level << (2 * i));
        magnitudes[k * kSize + i] = static_cast<int8_t>(4 * level);
        short_points[k * kSize + i] = static_cast<int8_t>(static_cast<int>(random.below(9)) - 4);
      }
    }
    for (int upper = 0; upper < 512; ++upper) {
      const int parity = __builtin_popcount(static_cast<unsigned>(upper & 255)) % 2;
      const int shift = upper >= 256 ? -1 : 1;
      for (int i = 0; i < kSize; ++i) {
        const bool minus = i < 7 ? (upper >> (1 + i) & 1) != 0 : parity != 0;
        const int sign = minus ? -1 : 1;
        signs[upper * kSize + i] = static_cast<int8_t>(sign * (2 + sign * shift));
      }
    }
    // Past the end there are codes too, which meet zeros.
    for (int64_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint16_t>(random.next());
    for (int64_t i = 0; i < short_codes.size(); ++i) {
      short_codes[i] = static_cast<uint8_t>(random.next());
    }
    codes[0] = 0;
    inputs = AlignedBuffer<int8_t>(blocks * kE8pInputs);
    sums = AlignedBuffer<int16_t>(blocks * kE8pBlock);
    scales = AlignedBuffer<float>(blocks * kE8pInputs / 32);
    for (int64_t i = 0; i < per_row * kSize; ++i) {
      const int value = i < kSize ? 127 : static_cast<int>(random.below(255)) - 127;
      inputs[i] = static_cast<int8_t>(value);
      sums[i / kSize] = static_cast<int16_t>(sums[i / kSize] + value);
    }
    for (int64_t i = 0; i < scales.size(); ++i) scales[i] = static_cast<float>(random.uniform());
  }

  E8pTables tables() const {
    return {levels.data(), magnitudes.data(), signs.data(), short_points.data()};
  }
  // y of both kinds of codes.
  std::vector<float> multiply(const E8pGemvKernels& kernels, int64_t rows) const {
    AlignedBuffer<int8_t> placed(inputs.size());
    for (int64_t i = 0; i < inputs.size(); ++i) {
      placed[i / kE8pInputs * kE8pInputs + kernels.place(i % kE8pInputs)] = inputs[i];
    }
    const E8pInput x = {inputs.data(), placed.data(), sums.data(), scales.data()};
    std::vector<float> y(static_cast<size_t>(2 * rows));
    kernels.multiply(tables(), codes.data(), per_row, rows, x, y.data());
    kernels.multiply_short(tables(), short_codes.data(), per_row, rows, x, y.data() + rows);
    return y;
  }
};

TEST(E8pGemv, ScalarIsTheSumOfPointsTimesInputs) {
  Random random(1);
  const int64_t rows = 3, per_row = 37;
  const Problem p(per_row, rows, random);
  const auto y = p.multiply(make_kernel_table(Isa::scalar).e8p, rows);
  for (int64_t r = 0; r < rows; ++r) {
    double expected = 0, expected_short = 0;
    for (int64_t i = 0; i < per_row * kSize; ++i) {
      const int64_t d = i % kSize, at = r * per_row + i / kSize;
      const double x = double{p.scales[i / 32]} * p.inputs[i];
      const int code = p.codes[at], level = p.levels[code & 255] >> (2 * d) & 3;
      const int parity = __builtin_popcount(static_cast<unsigned>(code >> 7 & 255)) % 2;
      const bool minus = d < 7 ? (code >> (8 + d) & 1) != 0 : parity != 0;
      const double q = (minus ? -1 : 1) * (level + 0.5);
      expected += (q + (code >> 15 != 0 ? -0.25 : 0.25)) * x;
      expected_short += 0.5 * p.short_points[p.short_codes[at] * kSize + d] * x;
    }
    EXPECT_NEAR(y[static_cast<size_t>(r)], expected, 0.01) << r;
    EXPECT_NEAR(y[static_cast<size_t>(rows + r)], expected_short, 0.01) << r;
  }
}

TEST(E8pGemv, PlacesAreAPermutation) {
  for (const KernelTable& level : all_levels()) {
    std::vector<int> seen(kE8pInputs);
    for (int64_t i = 0; i < kE8pInputs; ++i) ++seen[static_cast<size_t>(level.e8p.place(i))];
    EXPECT_EQ(seen, std::vector<int>(kE8pInputs, 1)) << isa_name(level.isa);
  }
}

TEST(E8pGemv, EveryLevelAgreesWithScalar) {
  Random random(2);
  const KernelTable scalar = make_kernel_table(Isa::scalar);
  for (const KernelTable& level : vector_levels()) {
    for (const int64_t per_row : {1, 2, 3, 4, 5, 31, 32, 33, 63, 72, 192}) {
      for (const int64_t rows : {1, 2, 7}) {
        SCOPED_TRACE(testing::Message() << isa_name(level.isa) << " " << rows << " x " << per_row);
        const Problem p(per_row, rows, random);
        const auto expected = p.multiply(scalar.e8p, rows), found = p.multiply(level.e8p, rows);
        expect_near_by_norm(found.data(), expected.data(), std::ssize(found), 1e-5);
      }
    }
  }
}

}  // namespace
}  // namespace bitsmith
