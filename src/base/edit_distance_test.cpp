#include "base/edit_distance.h"

#include <gtest/gtest.h>

namespace bitsmith {
namespace {

TEST(EditDistance, CountsSingleEdits) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("quantize", "quantize"), 0u);
  EXPECT_EQ(edit_distance("quantise", "quantize"), 1u);
  EXPECT_EQ(edit_distance("qantize", "quantize"), 1u);
  EXPECT_EQ(edit_distance("qunatize", "quantize"), 1u);  // neighbors swapped
  EXPECT_EQ(edit_distance("", "tune"), 4u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(EditDistance, IsSymmetric) {
  EXPECT_EQ(edit_distance("layers.0.q", "layers.10.k"), edit_distance("layers.10.k", "layers.0.q"));
}

}  // namespace
}  // namespace bitsmith
