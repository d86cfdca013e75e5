#include <gtest/gtest.h>

#include "compressor/quantize/test_linears.h"

namespace bitsmith {
namespace {

TEST(Aqlm, BeatsRoundingToNearestWithTheSameCodebooks) {
  const TestLinear linear = random_linear(48, 192);
  EXPECT_LT(quantize(linear, "aq2x6g8", "aqlm").relative_error,
            0.8 * quantize(linear, "aq2x6g8", "rtn").relative_error);
}

TEST(Aqlm, FindsWhatIsExactlyRepresentable) {
  torch::manual_seed(2);
  const auto codebook = torch::randn({8, 4});
  const auto codes = torch::randint(8, {64 * 8});
  const auto weight = codebook.index_select(0, codes).reshape({64, 32});
  const auto hessian = random_linear(1, 32).hessian;
  QuantizeOptions options;
  options.tolerance = 0;
  EXPECT_LT(quantize({weight, hessian}, "aq1x6g4", "aqlm", options).relative_error, 1e-3);
}

TEST(Aqlm, SeedsDifferButOneSeedRepeats) {
  const TestLinear linear = random_linear(32, 64);
  QuantizeOptions other;
  other.seed = 5;
  const auto a = quantize(linear, "aq2x4g8", "aqlm"), b = quantize(linear, "aq2x4g8", "aqlm");
  const auto c = quantize(linear, "aq2x4g8", "aqlm", other);
  EXPECT_TRUE(torch::equal(a.representation->dequantize(), b.representation->dequantize()));
  EXPECT_FALSE(torch::equal(a.representation->dequantize(), c.representation->dequantize()));
}

}  // namespace
}  // namespace bitsmith
