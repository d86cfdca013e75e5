#include "kernels/uniform_gemv.h"

#include <numeric>

#include "base/half.h"
#include "kernels/test_support.h"
#include "kernels/uniform_layout.h"

namespace bitsmith {
namespace {

struct Case {
  int nbits;
  int64_t in_features, group_size;
  bool zero_points;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << "int" << c.nbits << "g" << c.group_size << (c.zero_points ? "-z" : "") << " on "
             << c.in_features;
}

// Random bundles and one token's activations.
struct Problem {
  static constexpr int64_t kBundles = 3;
  UniformBundles w = {};
  AlignedBuffer<uint8_t> codes, zeros;
  AlignedBuffer<uint16_t> scales;
  AlignedBuffer<float> x;
  AlignedBuffer<int8_t> input_codes;
  AlignedBuffer<float> input_scales;
  AlignedBuffer<int32_t> input_sums;

  explicit Problem(const Case& c) {
    Random random(static_cast<uint64_t>(c.in_features));
    w.nbits = c.nbits;
    w.in_features = c.in_features;
    w.group_size = c.group_size;
    w.groups = c.in_features / c.group_size;
    w.units = (c.in_features + kUniformUnit - 1) / kUniformUnit;
    w.zero = 1 << (c.nbits - 1);
    const int64_t run = w.groups == 1 ? kUniformUnit : std::gcd(c.group_size, kUniformUnit);
    w.chunk = run >= 4 ? static_cast<int>(run) : 0;
    codes = AlignedBuffer<uint8_t>(kBundles * w.units * c.nbits * kUniformField);
    for (int64_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(random.next());
    // NaN behind them: a scale beyond the last group would show.
    constexpr int64_t kGuard = kUniformUnit * kUniformRows;
    constexpr uint16_t kNan = 0x7e00;
    const int64_t count = kBundles * w.groups * kUniformRows;
    scales = AlignedBuffer<uint16_t>(count + kGuard);
    zeros = AlignedBuffer<uint8_t>(count + kGuard);
    std::fill_n(scales.data(), scales.size(), kNan);
    for (int64_t i = 0; i < count; ++i) {
      scales[i] = float_to_fp16(static_cast<float>(random.normal()));
      zeros[i] = static_cast<uint8_t>(random.below(1u << c.nbits));
    }
    w.codes = codes.data();
    w.scales = scales.data();
    w.zeros = c.zero_points ? zeros.data() : nullptr;
    x = outlier_values(c.in_features, random);
    input_codes = AlignedBuffer<int8_t>(w.units * kUniformUnit);
    input_scales = AlignedBuffer<float>(w.units);
    input_sums = AlignedBuffer<int32_t>(w.units * kUniformUnit / 4);
  }
  QuantizedInput input() { return {input_codes.data(), input_scales.data(), input_sums.data()}; }
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (int nbits = 1; nbits <= 8; ++nbits) {
    for (const bool zeros : {false, true}) {
      all.push_back({nbits, 128, 64, zeros});
      all.push_back({nbits, 96, 48, zeros});
      all.push_back({nbits, 72, 72, zeros});
      all.push_back({nbits, 64, 8, zeros});
      all.push_back({nbits, 60, 12, zeros});
      all.push_back({nbits, 48, 8, zeros});
      all.push_back({nbits, 20, 4, zeros});
      all.push_back({nbits, 35, 35, zeros});
      all.push_back({nbits, 36, 3, zeros});
    }
  }
  return all;
}

void expect_levels_agree(const Case& c) {
  Problem problem(c);
  const KernelTable scalar = make_kernel_table(Isa::scalar);
  const UniformBundles& w = problem.w;
  constexpr int64_t kRows = Problem::kBundles * kUniformRows;
  for (const KernelTable& level : vector_levels()) {
    SCOPED_TRACE(testing::Message() << isa_name(level.isa) << " " << c);
    std::vector<float> expected(w.in_features * kUniformRows), found = expected;
    for (int64_t bundle = 0; bundle < Problem::kBundles; ++bundle) {
      scalar.uniform.decode_bundle(w, bundle, expected.data(), kUniformRows);
      level.uniform.decode_bundle(w, bundle, found.data(), kUniformRows);
      EXPECT_EQ(found, expected);
    }
    if (w.chunk == 0) continue;
    scalar.uniform.quantize(problem.x.data(), w.in_features, w.chunk, problem.input());
    std::vector<float> y(kRows), reference(kRows);
    scalar.uniform.gemv(w, 0, Problem::kBundles, problem.input(), reference.data());
    level.uniform.gemv(w, 0, Problem::kBundles, problem.input(), y.data());
    expect_near_by_norm(y.data(), reference.data(), kRows, float_sum_tolerance(w.in_features) * 4);
    level.uniform.gemv(w, 1, 1, problem.input(), reference.data());  // a range of bundles
    EXPECT_TRUE(
        std::equal(y.begin() + kUniformRows, y.begin() + 2 * kUniformRows, reference.begin()));
  }
}

TEST(UniformGemv, EveryLevelAgreesWithScalar) {
  for (const Case& c : cases()) expect_levels_agree(c);
}

void expect_decoded_product(const Case& c) {
  SCOPED_TRACE(testing::Message() << c);
  Problem problem(c);
  const KernelTable scalar = make_kernel_table(Isa::scalar);
  const UniformBundles& w = problem.w;
  if (w.chunk == 0) return;
  scalar.uniform.quantize(problem.x.data(), w.in_features, w.chunk, problem.input());
  float y[kUniformRows], expected[kUniformRows];
  scalar.uniform.gemv(w, 1, 1, problem.input(), y);
  std::vector<float> decoded(w.in_features * kUniformRows);
  scalar.uniform.decode_bundle(w, 1, decoded.data(), kUniformRows);
  for (int64_t r = 0; r < kUniformRows; ++r) {
    double sum = 0;
    for (int64_t i = 0; i < w.in_features; ++i) {
      sum += double{decoded[i * kUniformRows + r]} * problem.input_codes[i] *
             problem.input_scales[i / kUniformUnit];
    }
    expected[r] = static_cast<float>(sum);
  }
  // Sums of codes and of zero points cancel: compared with the norms of the factors' products.
  expect_near_by_norm(y, expected, kUniformRows, 1e-5);
}

TEST(UniformGemv, ScalarIsTheDecodedProduct) {
  for (const Case& c : cases()) expect_decoded_product(c);
}

// In two blocks, as the upper and as the lower half of a panel.
void expect_int8_panel(const Case& c) {
  Problem problem(c);
  const UniformBundles& w = problem.w;
  if (w.chunk == 0 || (c.nbits == 8 && c.zero_points)) return;
  std::vector<float> decoded(static_cast<size_t>(w.in_features * kUniformRows));
  for (const KernelTable& level : all_levels()) {
    SCOPED_TRACE(testing::Message() << isa_name(level.isa) << " " << c);
    level.uniform.quantize(problem.x.data(), w.in_features, w.chunk, problem.input());
    for (int64_t bundle = 0; bundle < 2; ++bundle) {
      level.uniform.decode_bundle(w, bundle, decoded.data(), kUniformRows);
      float expected[kUniformRows];
      level.uniform.gemv(w, bundle, 1, problem.input(), expected);
      const int64_t row = bundle * kUniformRows, stride = w.units * kUniformUnit;
      AlignedBuffer<float> sums(kInt8Rows);
      for (int64_t first = 0, inputs = kUniformUnit; first < stride; first += inputs) {
        if (first > 0) inputs = stride - first;
        AlignedBuffer<int8_t> codes(inputs * kInt8Rows);
        AlignedBuffer<float> scales(inputs / w.chunk * kInt8Rows);
        const Int8Panel panel = {inputs, w.chunk, codes.data(), scales.data()};
        level.uniform.decode_int8(w, bundle, first, panel, row);
        for (int64_t i = 0; i < inputs && first + i < w.in_features; ++i) {
          for (int64_t r = 0; r < kUniformRows; ++r) {
            ASSERT_EQ(scales[i / w.chunk * kInt8Rows + row + r] *
                          static_cast<float>(codes[(i / 4 * kInt8Rows + row + r) * 4 + i % 4]),
                      decoded[static_cast<size_t>((first + i) * kUniformRows + r)])
                << first + i << ", " << r;
          }
        }
        level.int8_gemm.multiply(
            panel,
            {problem.input_codes.data() + first, problem.input_scales.data() + first / kUniformUnit,
             problem.input_sums.data() + first / w.chunk, stride},
            1, sums.data());
      }
      // One token alone has the same bits.
      for (int64_t r = 0; r < kUniformRows; ++r) EXPECT_EQ(sums[row + r], expected[r]) << r;
    }
  }
}

TEST(UniformGemv, Int8PanelsAreTheCodes) {
  for (const Case& c : cases()) expect_int8_panel(c);
}

TEST(UniformQuantize, EveryLevelGivesTheSameIntegers) {
  const KernelTable scalar = make_kernel_table(Isa::scalar);
  Random random(5);
  for (const int64_t in : {1, 15, 16, 17, 31, 32, 33, 63, 64, 100, 576}) {
    for (const int chunk : {4, 8, 16, 32}) {
      auto x = outlier_values(in, random);
      if (in > 40) std::fill_n(x.data(), 32, 0.0f);  // a unit of zeros
      const int64_t padded = (in + 31) / 32 * 32;
      AlignedBuffer<int8_t> expected(padded), codes(padded);
      AlignedBuffer<float> expected_scales(padded / 32), scales(padded / 32);
      AlignedBuffer<int32_t> expected_sums(padded / chunk), sums(padded / chunk);
      scalar.uniform.quantize(x.data(), in, chunk,
                              {expected.data(), expected_scales.data(), expected_sums.data()});
      for (const KernelTable& level : vector_levels()) {
        std::fill_n(codes.data(), padded, int8_t{7});
        level.uniform.quantize(x.data(), in, chunk, {codes.data(), scales.data(), sums.data()});
        SCOPED_TRACE(testing::Message() << isa_name(level.isa) << " " << in << " by " << chunk);
        EXPECT_TRUE(std::equal(codes.data(), codes.data() + padded, expected.data()));
        EXPECT_TRUE(std::equal(sums.data(), sums.data() + padded / chunk, expected_sums.data()));
        EXPECT_TRUE(std::equal(scales.data(), scales.data() + padded / 32, expected_scales.data()));
      }
      for (int64_t i = 0; i < in; ++i) {  // within half a step, and within 127 steps
        EXPECT_LE(std::abs(x[i] - expected_scales[i / 32] * expected[i]),
                  expected_scales[i / 32] * 0.50001f);
        EXPECT_GE(expected[i], -127);
      }
    }
  }
}

TEST(UniformLayout, CodesComeBack) {
  Random random(6);
  for (int nbits = 1; nbits <= 8; ++nbits) {
    std::vector<uint8_t> unit(nbits * kUniformField);
    std::vector<int> codes;
    for (int64_t k = 0; k < kUniformRows * kUniformUnit; ++k) {
      codes.push_back(static_cast<int>(random.below(1u << nbits)));
      store_code(unit.data(), field_places(nbits, k % kUniformUnit), k / kUniformUnit,
                 codes.back());
    }
    for (int64_t k = 0; k < kUniformRows * kUniformUnit; ++k) {
      EXPECT_EQ(load_code(unit.data(), nbits, k / kUniformUnit, k % kUniformUnit), codes[k]);
    }
  }
}

}  // namespace
}  // namespace bitsmith
