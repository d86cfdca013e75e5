// What the tests of code rules do with two of them.
#pragma once
#include <gtest/gtest.h>

#include "compressor/train/code_rule.h"

namespace bitsmith {

// Both rules take the same steps with the same random gradients: their codes stay equal.
inline void expect_same_codes(CodedTerm& first_term, CodeRule& first, CodedTerm& second_term,
                              CodeRule& second, int64_t steps) {
  torch::manual_seed(31);
  int64_t changed = 0;
  for (int64_t step = 1; step <= steps; ++step) {
    const auto gradient = torch::randn({first_term.out_features(), first_term.in_features()});
    const auto one = first.step(first_term, gradient, {.step = step});
    const auto other = second.step(second_term, gradient, {.step = step});
    ASSERT_EQ(one.has_value(), other.has_value());
    if (one) changed += one->changed;
    EXPECT_TRUE(torch::equal(first_term.codes(), second_term.codes())) << "step " << step;
  }
  EXPECT_GT(changed, 0);
}

}  // namespace bitsmith
