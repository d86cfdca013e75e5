// A rule that moves no code by itself: it keeps the mean gradient for second-order V steps
// (tune/second_order.h).
#pragma once
#include <memory>

#include "compressor/train/code_rule.h"

namespace bitsmith {

// m <- momentum * m + (1 - momentum) * gradient, from zero, in float32: an average over about
// 2 / (1 - momentum) steps.
std::unique_ptr<CodeRule> averaged_gradient(const CodedTerm& term, double momentum,
                                            const RuleSetup& setup);

}  // namespace bitsmith
