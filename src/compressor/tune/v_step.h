// The linearised subspace V step of PV-Tuning (section 3.3, algorithm 3): move the weights by one
// Adam step, and round back to codes only the few groups whose update is largest.
#pragma once
#include <torch/torch.h>

#include "compressor/representation/representation.h"

namespace bitsmith {

struct VStepOptions {
  double step = 1.0;          // length of the update in units of the matrix's root mean square
  double trust_ratio = 0.01;  // ||W_new - W|| <= trust_ratio * ||W||
  double chunk = 0.01;        // share of the groups searched at a time, largest updates first
  int max_chunks = 10;        // groups beyond these have updates too small to flip a code
};

struct VStepResult {
  torch::Tensor changed;  // [n] int64: the groups whose codes changed, as flat indices
  double change = 0;      // ||W_new - W|| / ||W||
};

// `direction` [out, in] float32: Adam's normalised update. Target: W - step * rms(W) * direction.
// Groups are taken greedily by the norm of their update; a group whose change would leave the trust
// region ends the step, but one group may always change.
VStepResult v_step(Representation& representation, const torch::Tensor& direction,
                   const VStepOptions& options);

}  // namespace bitsmith
