#include "base/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "base/random.h"

namespace bitsmith {
namespace {

// The value of a 16-bit float by its definition.
double reference_value(uint16_t h, int exponent_bits, int mantissa_bits) {
  const int exponent = (h >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int mantissa = h & ((1 << mantissa_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = h & 0x8000 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) {
    return mantissa ? std::numeric_limits<double>::quiet_NaN()
                    : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
}

// The code nearest to |f|, ties to the even code, by bisection over all non-negative codes. As in
// IEEE 754 the first code beyond the largest finite one (infinity) stands for the next power of 2.
uint16_t reference_code(float f, int exponent_bits, int mantissa_bits) {
  const auto value = [&](uint32_t code) {
    const double v = reference_value(static_cast<uint16_t>(code), exponent_bits, mantissa_bits);
    return std::isinf(v) ? std::ldexp(1.0, 1 << (exponent_bits - 1)) : v;
  };
  const uint16_t sign = std::signbit(f) ? 0x8000 : 0;
  const uint32_t infinity = ((1u << exponent_bits) - 1) << mantissa_bits;
  const double x = std::fabs(static_cast<double>(f));
  if (x >= value(infinity)) return static_cast<uint16_t>(sign | infinity);
  uint32_t low = 0, high = infinity;  // value(low) <= x < value(high)
  while (high - low > 1) {
    const uint32_t middle = (low + high) / 2;
    (value(middle) <= x ? low : high) = middle;
  }
  const double below = x - value(low), above = value(high) - x;
  const bool up = above < below || (above == below && low % 2 == 1);
  return static_cast<uint16_t>(sign | (up ? high : low));
}

TEST(HalfTest, EveryCodeHasItsValueAndComesBack) {
  for (uint32_t code = 0; code < 65536; ++code) {
    const auto h = static_cast<uint16_t>(code);
    const double fp16 = reference_value(h, 5, 10), bf16 = reference_value(h, 8, 7);
    if (std::isnan(fp16)) {
      EXPECT_TRUE(std::isnan(fp16_to_float(h))) << code;
      EXPECT_TRUE(std::isnan(fp16_to_float(float_to_fp16(fp16_to_float(h))))) << code;
    } else {
      EXPECT_EQ(fp16_to_float(h), fp16) << code;
      EXPECT_EQ(float_to_fp16(fp16_to_float(h)), h) << code;
    }
    if (std::isnan(bf16)) {
      EXPECT_TRUE(std::isnan(bf16_to_float(h))) << code;
      EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(bf16_to_float(h))))) << code;
    } else {
      EXPECT_EQ(bf16_to_float(h), bf16) << code;
      EXPECT_EQ(float_to_bf16(bf16_to_float(h)), h) << code;
    }
  }
}

TEST(HalfTest, ConversionRoundsToTheNearestTiesToEven) {
  Random random(1);
  for (int i = 0; i < 200'000; ++i) {
    // Any float at all, then floats in the range of fp16 and exact ties between two codes.
    uint32_t bits = random.next();
    if (i % 3 == 1) bits = (bits & 0x80ffffffu) | (0x30u + random.below(0x18)) << 24;
    if (i % 3 == 2) bits = std::bit_cast<uint32_t>(fp16_to_float(bits & 0x7bffu)) | 0x1000u;
    const float f = std::bit_cast<float>(bits);
    if (std::isnan(f)) continue;
    ASSERT_EQ(float_to_fp16(f), reference_code(f, 5, 10)) << f;
    ASSERT_EQ(float_to_bf16(f), reference_code(f, 8, 7)) << f;
  }
}

TEST(HalfTest, EdgesOfTheRange) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(float_to_fp16(65504.0f), 0x7bff);
  EXPECT_EQ(float_to_fp16(65519.996f), 0x7bff);
  EXPECT_EQ(float_to_fp16(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_fp16(-infinity), 0xfc00);
  EXPECT_EQ(float_to_fp16(0x1p-25f), 0);  // a tie between 0 and the least subnormal
  EXPECT_EQ(float_to_fp16(0x1.000002p-25f), 1);
  EXPECT_EQ(float_to_fp16(-0.0f), 0x8000);
  EXPECT_EQ(float_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(float_to_bf16(infinity), 0x7f80);
}

}  // namespace
}  // namespace bitsmith
