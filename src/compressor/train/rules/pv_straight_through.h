// PV-Tuning with straight-through estimation (section 3.4): the subspace V step toward latent
// weights, in which the updates of code groups that were not chosen add up until they are.
#pragma once
#include <memory>

#include "compressor/train/code_rule.h"
#include "compressor/train/rules/latent_weights.h"

namespace bitsmith {

// The update of a V step is latent - W. With a subspace of everything and no trust ratio this is
// straight_through(); with a decay of 1 and a V step in every step, subspace_pv() whose code_step
// is the latent rate.
std::unique_ptr<CodeRule> pv_straight_through(const CodedTerm& term, const LatentOptions& latent,
                                              const SubspaceOptions& subspace,
                                              const RuleSetup& setup);

}  // namespace bitsmith
