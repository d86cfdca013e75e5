// Second-order V steps: codes of a step of the whole model by the mean gradient g, in the metric of
// the second derivatives, whose length the KL on held-out windows decides.
#pragma once
#include <cstdint>

#include "compressor/tune/code_pass.h"

namespace bitsmith {

// What the step came to.
struct SecondOrderOutcome {
  double step = 0;      // 0: none lowered the KL, and all is as it was
  int64_t changed = 0;  // code groups
  double kl = 0;        // on the held-out windows, of the student as it now is
};

// Of every matrix of the blocks the model is <g, dW> + tr(G dW H dW^T) / (2 step), dW the change of
// what its codes give: H of the student's inputs, G the diagonal of mean squared end-loss gradients
// at its outputs (a Kronecker-factored Fisher matrix, Martens & Grosse 2015, its G without what is
// beside the diagonal), g that of the code rule (CodeRule::mean_gradient()). For a few steps from
// options.longest_step down, codes are searched with all matrices as they are; then the KL of the
// student with all codes of a step judges it, and the best is kept if it lowers the KL. Changed
// code groups lose their g: what it asked for has been done. Where job.progress throws, all is as
// it was.
SecondOrderOutcome second_order_step(const CodePassJob& job);

// The update dW [out, in] with the least value of that model over all real numbers,
// -step * G^-1 g H^-1. Rows of zero weight stay. Of a G that joins rows, as behind a rotation of
// outputs, the diagonal stands for it.
torch::Tensor newton_update(const torch::Tensor& gradient, const Objective& objective, double step);

// The Hessian with `share` of its mean diagonal added to its diagonal.
Objective damped(const Objective& objective, double share);

}  // namespace bitsmith
