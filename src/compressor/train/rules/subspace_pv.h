// The linearized subspace V step of PV-Tuning (section 3.3, algorithm 3): move the weights by one
// Adam step, and round back to codes only the few code groups whose update is largest.
#pragma once
#include <memory>

#include "compressor/train/code_rule.h"

namespace bitsmith {

// The target of a V step is W - code_step * distance * direction. Neighboring codes lie about 3
// distances apart: a code flips where its update is longer than half of that. The rule's state is
// Adam's moments of the gradient. A code group that changed loses its momentum: a code moves by the
// whole distance to its neighbor at once, and would be pushed on beyond it.
std::unique_ptr<CodeRule> subspace_pv(double code_step, const SubspaceOptions& options,
                                      const RuleSetup& setup);

}  // namespace bitsmith
