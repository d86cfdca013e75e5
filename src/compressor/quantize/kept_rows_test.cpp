#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "compressor/quantize/test_linears.h"

namespace bitsmith {
namespace {

TEST(KeptRows, AreThoseAskedForThenTheCostliest) {
  TestLinear linear = random_linear(40, 160);
  linear.weight[30] *= 50;
  linear.weight[31] *= 20;
  QuantizeOptions options;
  const auto kept = [&](const std::string& spec) {
    const auto result = quantize_by(linear.weight, linear.hessian, spec, options);
    const QuantizedTensor stored = result.representation->to_format();
    // What the codes leave is rounded to 16 bits.
    const auto difference = linear.weight - result.representation->dequantize();
    for (const int64_t row : read_kept_rows(stored)) {
      EXPECT_LT(difference[row].norm().item<double>(),
                std::ldexp(linear.weight[row].norm().item<double>(), -9));
    }
    return read_kept_rows(stored);
  };
  for (const char* spec : {"int3g32", "gvq2d2b-n640", "aq1x6g4"}) {
    options.kept_rows = {};
    EXPECT_EQ(kept(concat(spec, "+rows2")), (std::vector<int64_t>{30, 31})) << spec;
    options.kept_rows = {4, 7};
    EXPECT_EQ(kept(concat(spec, "+rows3")), (std::vector<int64_t>{4, 7, 30})) << spec;
    EXPECT_EQ(kept(concat(spec, "+rows1")), (std::vector<int64_t>{4})) << spec;
  }
}

// Rows that are kept whatever happens leave their codebooks to the others.
TEST(KeptRows, AreNoneOfTheCodesBusiness) {
  TestLinear linear = random_linear(40, 160);
  QuantizeOptions options;
  options.kept_rows = {4, 7};
  const auto others = [&](const torch::Tensor& weight) {
    auto dense = quantize_by(weight, linear.hessian, "gvq2d2b-n640+rows2", options)
                     .representation->dequantize()
                     .detach()
                     .clone();
    dense[4].zero_();
    dense[7].zero_();
    return dense;
  };
  auto changed = linear.weight.clone();
  changed[4] *= 30;
  changed[7] *= -3;
  EXPECT_TRUE(torch::equal(others(linear.weight), others(changed)));
}

}  // namespace
}  // namespace bitsmith
