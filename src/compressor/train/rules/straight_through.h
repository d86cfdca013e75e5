// Straight-through estimation (PV-Tuning, appendix E; Bengio et al. 2013): latent weights take
// Adam's steps with the gradient that the quantized ones got, as if rounding were the identity, and
// codes are the nearest to them.
#pragma once
#include <memory>

#include "compressor/train/code_rule.h"
#include "compressor/train/rules/latent_weights.h"

namespace bitsmith {

// At a V step all code groups are searched: exact for one codebook or uniform codes, coordinate
// descent from the present codes for more. There is no trust region.
std::unique_ptr<CodeRule> straight_through(const CodedTerm& term, const LatentOptions& options,
                                           const RuleSetup& setup);

}  // namespace bitsmith
