#include "compressor/model/gemm_rate.h"

#include <gtest/gtest.h>

#include "kernels/cpu_features.h"

namespace bitsmith {
namespace {

TEST(GemmRate, IsMeasuredOnceAndLeavesTheRandomStreamAlone) {
  torch::manual_seed(3);
  const auto expected = torch::rand({4});
  torch::manual_seed(3);
  const GemmRates first = gemm_rates();
  EXPECT_TRUE(torch::equal(torch::rand({4}), expected));
  EXPECT_GT(first.float32, 0);
  EXPECT_EQ(first.bfloat16 > 0, has_bfloat16_products());
  EXPECT_EQ(gemm_rates().float32, first.float32);
  EXPECT_EQ(gemm_rates().bfloat16, first.bfloat16);
}

TEST(GemmRates, BFloat16MustBeClearlyFaster) {
  EXPECT_TRUE((GemmRates{.float32 = 200, .bfloat16 = 390}.bfloat16_is_faster()));
  EXPECT_FALSE((GemmRates{.float32 = 200, .bfloat16 = 210}.bfloat16_is_faster()));
  EXPECT_FALSE((GemmRates{.float32 = 200}.bfloat16_is_faster()));
}

}  // namespace
}  // namespace bitsmith
