// Latent weights (PV-Tuning, appendix E): the dense matrix beside the codes in which steps add up
// that are too short to flip a code.
#pragma once
#include <string>

#include "compressor/train/code_rule.h"

namespace bitsmith {

struct LatentOptions {
  // Step of the latent weights, in units of the matrix's distance to its original, times Adam's
  // direction; falls with the run's rates. A code flips after a way of about 1.5. Raise it for
  // short runs, lower it where the loss swings.
  double rate = 0.03;
  // Share of the way to the quantized matrix that the latent weights go back at each V step, and
  // of the momentum that a changed code group loses then. 0: the paper's straight-through
  // estimation; 1: nothing is left but this step's update, as in `pv` and `naive-pv`.
  double decay = 0;
};

// Begins as what the codes and codebooks of the start give: from the original weights the first
// search would undo what one-shot quantization put into the codes. Kept in float32, since one step
// is less than bfloat16's spacing.
class LatentWeights {
 public:
  LatentWeights(const CodedTerm& term, const LatentOptions& options, const RuleSetup& setup);

  // [out, in] float32, in the space of what the term gives.
  const torch::Tensor& values() const { return latent_; }
  // Takes one step; returns Adam's direction.
  torch::Tensor step(const torch::Tensor& gradient, const RunPosition& at);
  // After a V step that changed the code groups `changed` [n]: the decay.
  void forget(const CodedTerm& term, const torch::Tensor& changed);
  void visit(const std::string& name, const StateVisitor& visitor);

 private:
  torch::Tensor latent_;
  double length_;  // of a step where Adam's direction is 1
  double decay_;
  AdamOptions adam_;
  AdamState moments_;
};

}  // namespace bitsmith
