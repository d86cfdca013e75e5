#include "kernels/int8_gemm.h"

#include <algorithm>

#include "kernels/test_support.h"

namespace bitsmith {
namespace {

// A panel and activations of some tokens, rounded already.
struct Problem {
  Int8Panel w;
  Int8Inputs x;
  int64_t tokens;
  AlignedBuffer<int8_t> codes, input_codes;
  AlignedBuffer<float> scales, input_scales;
  AlignedBuffer<int32_t> input_sums;

  // largest: every number is the largest of its range, with a random sign.
  Problem(int64_t inputs, int chunk, int64_t token_count, bool largest, Random& random)
      : tokens(token_count),
        codes(inputs * kInt8Rows),
        input_codes(tokens * stride(inputs)),
        scales(inputs / chunk * kInt8Rows),
        input_scales(tokens * stride(inputs) / kInt8Unit),
        input_sums(tokens * stride(inputs) / chunk) {
    for (int64_t i = 0; i < codes.size(); ++i) {
      const bool negative = random.below(2) == 0;
      codes[i] = static_cast<int8_t>(!largest   ? static_cast<int>(random.below(256)) - 128
                                     : negative ? -128
                                                : 127);
    }
    for (int64_t i = 0; i < input_codes.size(); ++i) {
      const bool negative = random.below(2) == 0;
      input_codes[i] = static_cast<int8_t>(!largest   ? static_cast<int>(random.below(255)) - 127
                                           : negative ? -127
                                                      : 127);
      input_sums[i / chunk] += input_codes[i];
    }
    for (int64_t i = 0; i < scales.size(); ++i) scales[i] = static_cast<float>(random.normal());
    for (int64_t i = 0; i < input_scales.size(); ++i)
      input_scales[i] = static_cast<float>(std::abs(random.normal()));
    w = {inputs, chunk, codes.data(), scales.data()};
    x = {input_codes.data(), input_scales.data(), input_sums.data(), stride(inputs)};
  }
  // The panel is a part of the rows.
  static int64_t stride(int64_t inputs) { return inputs + 64; }

  Int8Inputs from(int64_t token) const {
    return {x.codes + token * x.stride, x.scales + token * x.stride / kInt8Unit,
            x.sums + token * x.stride / w.chunk, x.stride};
  }
};

template <typename Check>
void for_all_sizes(const Check& check) {
  Random random(1);
  for (const int64_t inputs : {32, 64, 96, 544}) {
    for (const int chunk : {4, 8, 16, 32}) {
      for (const int64_t tokens : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 25}) {
        for (const bool largest : {false, true}) {
          SCOPED_TRACE(testing::Message() << tokens << " tokens, " << inputs << " inputs by "
                                          << chunk << (largest ? ", largest" : ""));
          check(Problem(inputs, chunk, tokens, largest, random));
        }
      }
    }
  }
}

TEST(Int8Gemm, EveryLevelIsTheProduct) {
  for_all_sizes([](const Problem& p) {
    const int64_t size = p.tokens * kInt8Rows;
    AlignedBuffer<float> expected(size), found(size);
    for (int64_t t = 0; t < p.tokens; ++t) {
      for (int64_t r = 0; r < kInt8Rows; ++r) {
        double sum = 1;
        for (int64_t i = 0; i < p.w.inputs; ++i) {
          sum += double{p.scales[i / p.w.chunk * kInt8Rows + r]} *
                 p.codes[(i / 4 * kInt8Rows + r) * 4 + i % 4] *
                 p.input_scales[(t * p.x.stride + i) / kInt8Unit] *
                 p.input_codes[t * p.x.stride + i];
        }
        expected[t * kInt8Rows + r] = static_cast<float>(sum);
      }
    }
    for (const KernelTable& level : all_levels()) {
      SCOPED_TRACE(isa_name(level.isa));
      std::fill_n(found.data(), size, 1.0f);
      level.int8_gemm.multiply(p.w, p.x, p.tokens, found.data());
      expect_near_by_norm(found.data(), expected.data(), size, float_sum_tolerance(p.w.inputs) * 2);
    }
  });
}

// With scales of one the sums are integers below 2^24: no rounding at all.
TEST(Int8Gemm, IntegerSumsAreExact) {
  Random random(2);
  for (const int chunk : {4, 8, 16, 32}) {
    Problem p(512, chunk, 9, /*largest=*/true, random);
    std::fill_n(p.scales.data(), p.scales.size(), 1.0f);
    std::fill_n(p.input_scales.data(), p.input_scales.size(), 1.0f);
    const KernelTable scalar = make_kernel_table(Isa::scalar);
    const int64_t size = p.tokens * kInt8Rows;
    AlignedBuffer<float> expected(size), found(size);
    scalar.int8_gemm.multiply(p.w, p.x, p.tokens, expected.data());
    for (const KernelTable& level : vector_levels()) {
      std::fill_n(found.data(), size, 0.0f);
      level.int8_gemm.multiply(p.w, p.x, p.tokens, found.data());
      EXPECT_TRUE(std::equal(found.data(), found.data() + size, expected.data()))
          << isa_name(level.isa) << " by " << chunk;
    }
  }
}

TEST(Int8Gemm, ATokenDoesNotDependOnTheOthers) {
  for_all_sizes([](const Problem& p) {
    for (const KernelTable& level : all_levels()) {
      AlignedBuffer<float> all(p.tokens * kInt8Rows), one(kInt8Rows);
      level.int8_gemm.multiply(p.w, p.x, p.tokens, all.data());
      for (int64_t t = 0; t < p.tokens; ++t) {
        std::fill_n(one.data(), kInt8Rows, 0.0f);
        level.int8_gemm.multiply(p.w, p.from(t), 1, one.data());
        EXPECT_TRUE(std::equal(one.data(), one.data() + kInt8Rows, all.data() + t * kInt8Rows))
            << isa_name(level.isa) << " token " << t;
      }
    }
  });
}

TEST(Int8Gemm, PackingIsExact) {
  Random random(3);
  for (const int64_t inputs : {32, 64, 96, 128, 160}) {
    for (const int64_t rows : {1, 7, 8, 15, 16, 17, 31, 32}) {
      const int64_t stride = inputs + 5;
      std::vector<int8_t> w(static_cast<size_t>(rows * stride));
      for (int8_t& v : w) v = static_cast<int8_t>(random.below(256));
      AlignedBuffer<int8_t> found(inputs * kInt8Rows);
      for (const KernelTable& level : all_levels()) {
        SCOPED_TRACE(testing::Message() << isa_name(level.isa) << " " << rows << " x " << inputs);
        std::fill_n(found.data(), found.size(), int8_t{77});
        level.int8_gemm.pack(w.data(), rows, stride, inputs, found.data());
        for (int64_t r = 0; r < kInt8Rows; ++r) {
          for (int64_t i = 0; i < inputs; ++i) {
            const int8_t expected = r < rows ? w[static_cast<size_t>(r * stride + i)] : int8_t{0};
            ASSERT_EQ(found[(i / 4 * kInt8Rows + r) * 4 + i % 4], expected) << r << ", " << i;
          }
        }
      }
    }
  }
}

TEST(Int8Gemm, ReorderedUnits) {
  constexpr int64_t kUnits = 5;
  Random random(4);
  uint8_t order[kInt8Unit];
  for (uint8_t& from : order) from = static_cast<uint8_t>(random.below(kInt8Unit));
  std::vector<int8_t> codes(kUnits * kInt8Unit);
  for (int8_t& code : codes) code = static_cast<int8_t>(random.below(256));
  for (const KernelTable& level : all_levels()) {
    std::vector<int8_t> found = codes;
    level.int8_gemm.reorder(found.data(), kUnits, order);
    for (size_t i = 0; i < codes.size(); ++i) {
      const size_t first = i / kInt8Unit * kInt8Unit;
      EXPECT_EQ(found[i], codes[first + order[i - first]]) << isa_name(level.isa) << " " << i;
    }
  }
}

}  // namespace
}  // namespace bitsmith
