// The linearized V step over the whole space (PV-Tuning, section 3.2, equation 6): the subspace V
// step is measured against it.
#pragma once
#include <memory>

#include "compressor/train/code_rule.h"

namespace bitsmith {

// At a V step all code groups get the codes that are the nearest to W - rate * code_step * distance
// * direction. Nothing bounds what changes but the length of the update: too short, and every code
// rounds back to itself; long enough for some, and the matrix leaves the range where its gradient
// holds. As the subspace V step of everything without a trust ratio; state and momentum as there.
std::unique_ptr<CodeRule> naive_pv(double code_step, const RuleSetup& setup);

}  // namespace bitsmith
