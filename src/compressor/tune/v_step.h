// The linearized subspace V step of PV-Tuning (section 3.3, algorithm 3): move the weights by one
// Adam step, and round back to codes only the few groups whose update is largest.
#pragma once
#include "compressor/representation/representation.h"
#include "compressor/torch.h"

namespace bitsmith {

struct VStepOptions {
  double step = 3.0;          // length of the update of a weight, in code units
  double trust_ratio = 0.03;  // largest root mean square change of the weights, in code units
  double chunk = 0.01;        // share of the groups searched at a time, largest updates first
  int max_chunks = 10;        // groups beyond these have updates too small to flip a code
};

struct VStepResult {
  torch::Tensor changed;  // [n] int64: the groups whose codes changed, as flat indices
  double change = 0;      // root mean square of W_new - W
};

// `code_unit`: how far, root mean square, a weight lies from its original: about the distance
// between neighboring codes, which shrinks with every bit. (The paper's trust ratio is a share of
// ||W||.) `direction` [out, in] float32: Adam's normalized update. Target: W - step * code_unit *
// direction. Groups are taken greedily by the norm of their update; a group whose change would
// leave the trust region ends the step, but one group may always change.
VStepResult v_step(Representation& representation, const torch::Tensor& direction, double code_unit,
                   const VStepOptions& options);

}  // namespace bitsmith
