// Straight-through estimation (PV-Tuning, appendix E; Bengio et al. 2013): a dense latent matrix
// takes Adam's steps with the gradient that the quantized one got, as if rounding were the
// identity, and codes are the nearest to it. Small steps add up in it until a code flips.
#pragma once
#include "compressor/torch.h"
#include "compressor/train/code_rule.h"

namespace bitsmith {

struct StraightThroughOptions {
  // Step of the latent weights, in units of the matrix's distance to its original, times Adam's
  // direction; falls with the run's rates. A code flips after a way of about 1.5. Raise it for
  // short runs, lower it where the loss swings.
  double rate = 0.03;
};

// The rule. The latent matrix begins as what the codes and codebooks of the start give: from the
// original weights the first search would undo what one-shot quantization put into the codes. It is
// kept in float32, since one step is less than bfloat16's spacing; Adam's moments in bfloat16. At a
// V step of `schedule` all code groups are searched: exact for one codebook or uniform codes,
// coordinate descent from the present codes for more. There is no trust region.
std::unique_ptr<CodeRule> straight_through(const CodedTerm& term, double distance,
                                           const StraightThroughOptions& options,
                                           const VSchedule& schedule, const AdamOptions& adam);

}  // namespace bitsmith
