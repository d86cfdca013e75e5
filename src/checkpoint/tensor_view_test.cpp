#include "checkpoint/tensor_view.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"

namespace bitsmith {
namespace {

TEST(TensorViewTest, SizesOfTypes) {
  EXPECT_EQ(byte_size(DType::F32, {}), 4);
  EXPECT_EQ(byte_size(DType::BF16, {3, 5}), 30);
  EXPECT_EQ(byte_size(DType::F64, {2, 0}), 0);
  EXPECT_EQ(byte_size(DType::Q4_0, {2, 64}), 2 * 2 * 18);
  EXPECT_EQ(byte_size(DType::Q6_K, {3, 512}), 3 * 2 * 210);
  EXPECT_STREQ(dtype_name(DType::BOOL), "BOOL");
  EXPECT_STREQ(dtype_name(DType::Q2_K), "Q2_K");
  EXPECT_EQ(shape_string({576, 1536}), "[576, 1536]");
  EXPECT_EQ(shape_string({}), "[]");
}

TEST(TensorViewTest, ImpossibleSizesAreErrors) {
  const int64_t max = std::numeric_limits<int64_t>::max();
  EXPECT_THROW(element_count({max, 2}), Error);
  EXPECT_THROW(element_count({-1, 2}), Error);
  EXPECT_THROW(byte_size(DType::F32, {max / 2}), Error);
  EXPECT_THROW(byte_size(DType::Q4_0, {64, 33}), Error);  // rows are whole blocks
  EXPECT_THROW(byte_size(DType::Q6_K, {512, 128}), Error);
}

TEST(TensorViewTest, IntegersAreNotWeights) {
  const std::byte bytes[8]{};
  float out[1];
  EXPECT_THROW(decode_to_float(DType::I32, bytes, out), Error);
}

}  // namespace
}  // namespace bitsmith
