#include <gtest/gtest.h>

#include "compressor/quantize/test_linears.h"

namespace bitsmith {
namespace {

TEST(Rtn, FewerBitsCostMore) {
  const TestLinear linear = random_linear(32, 128);
  double before = 0;
  for (const char* spec : {"int8g32", "int6g32", "int4g32", "int3g32", "int2g32"}) {
    const double error = quantize({linear.weight, {}}, spec, "rtn").relative_error;
    EXPECT_GT(error, 2 * before);
    before = error;
  }
}

TEST(Rtn, NoScaleNearbyIsBetter) {
  const TestLinear linear = random_linear(16, 64);
  const auto result = quantize({linear.weight, {}}, "int3g64", "rtn");
  const auto scales = result.representation->continuous_parameters()[0].value.detach();
  for (const double factor : {0.97, 1.03, -1.0}) {
    const auto other = scales * factor;
    const auto codes = (linear.weight / other).round().clamp(-4, 3);
    const double error = relative_error(linear.weight, codes * other, {});
    EXPECT_GE(error, result.relative_error * 0.999);
  }
}

}  // namespace
}  // namespace bitsmith
