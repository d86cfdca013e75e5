// The full output factor G of the end loss, from gradients of a linear's outputs, and whether
// gradients that it was not made of bear it out.
#pragma once
#include "compressor/torch.h"

namespace bitsmith {

// The loss grows by the Fisher information of the weights, F = E vec(D) vec(D)^T, D = sum of g x^T
// over the tokens of a window, g the gradient at the outputs y = W x of the sampled loss. Its
// Kronecker approximation F = G (x) H, G = E g g^T, takes tokens as samples (K-FAC, Martens &
// Grosse 2015; sketch A of YAQA, Tseng et al. 2025): as many samples as tokens, without what the
// tokens of a window have to do with each other. Whole windows as samples (sketch B) have that, but
// they are few, and a G of too few samples does harm. So tokens make G, and windows judge it.

// 2 / weight * sum of g g^T, [n, n] float32, as HessianSum::hessian(); zeros for a weight of zero.
struct SecondMoment {
  torch::Tensor matrix;
  double weight = 0;
};
// Of the samples of both.
SecondMoment joined(const SecondMoment& first, const SecondMoment& second);

// Of one linear [out, out], each over windows of its own.
struct OutputMoments {
  SecondMoment first, second;  // of the tokens' gradients; the halves of what makes G
  // Of the columns of D Ubar^T [out, in] of held-out windows, Ubar = feedback_matrix(H): D as the
  // errors meet it that error feedback over the inputs leaves.
  SecondMoment held_out;
};

// Ubar [n, n], unit upper triangular, with H^-1 = Ubar^T diag(U)^2 Ubar, U = inverse_factor(H).
// Feedback over the inputs turns rounding noise Z into the error Z Ubar, feedback over the rows
// with Ubar of G into Ubar^T Z.
torch::Tensor feedback_matrix(const torch::Tensor& hessian, double damping);

struct OutputFactorEstimate {
  torch::Tensor factor;  // G [out, out], the mean of its diagonal one; undefined without gradients
  double shrinkage = 1;  // towards its diagonal, by its halves (half_noise.h)
  double held_out_cost = 1;  // see below
  // Whether errors that feedback by G shapes cost less on held-out windows than those that it does
  // not; a G of noise makes them cost more. A gain below kLeastGain is rounding, or not worth it.
  static constexpr double kLeastGain = 1e-3;
  bool holds() const { return held_out_cost < 1 - kLeastGain; }
};

// row_sizes [out]: a rounding error's size in each row, in any unit. Held-out cost: the expected
// squares of tr(E^T D) for errors E = Ubar(G)^T Z Ubar(H), over those for Z Ubar(H), Z independent
// noise of these sizes. No matrix needs to be quantized for it.
OutputFactorEstimate estimate_output_factor(const OutputMoments& moments,
                                            const torch::Tensor& row_sizes, double damping);

}  // namespace bitsmith
