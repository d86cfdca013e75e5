// The linearized subspace V step of PV-Tuning (section 3.3, algorithm 3): move the weights by one
// Adam step, and round back to codes only the few code groups whose update is largest.
#pragma once
#include "compressor/representation/representation.h"
#include "compressor/torch.h"
#include "compressor/train/code_rule.h"

namespace bitsmith {

struct SubspacePvOptions {
  // Length of the update whose nearest codes are searched, in units of the matrix's distance to
  // its original. Neighboring codes lie about 3 of them apart: a code flips where its update is
  // longer than half of that.
  double step = 3.0;
  // Largest root mean square change of a matrix in one V step, in the same units; falls with the
  // run's rates. Raise it where gradients are good (steps of many tokens).
  double trust_ratio = 0.03;
  // Share of the code groups that is searched at a time, those with the largest updates first.
  // Only speed: the trust ratio ends the search.
  double chunk = 0.01;
  // Chunks at most: code groups beyond these have updates too small to flip a code.
  int max_chunks = 10;
};

struct VStepResult {
  torch::Tensor changed;  // [n] int64: the code groups whose codes changed, as flat indices
  double change = 0;      // root mean square of W_new - W
};

// One V step of the matrix that `term` gives. `distance`: see CodeRuleFactory. (The paper's trust
// ratio is a share of ||W||.) `direction` [out, in] float32: Adam's normalized update. Target: W -
// step * distance * direction. Code groups are taken greedily by the norm of their update; one
// whose change would leave the trust region ends the step, but one may always change.
VStepResult v_step(CodedTerm& term, const torch::Tensor& direction, double distance,
                   const SubspacePvOptions& options);

// The rule: its state is Adam's moments of the gradient, in bfloat16. A code group that changed
// loses its momentum: a code moves by the whole distance to its neighbor at once, and would be
// pushed on beyond it.
std::unique_ptr<CodeRule> subspace_pv(double distance, const SubspacePvOptions& options,
                                      const VSchedule& schedule, const AdamOptions& adam);

}  // namespace bitsmith
