// The continuous half of every kind: with codes fixed a matrix is linear in each of its continuous
// parameters, so that the objective is quadratic in one where the others stay. What the methods
// solve by formulas of their kinds, slower and for all of them.
#pragma once
#include "compressor/objective/objective.h"
#include "compressor/representation/representation.h"

namespace bitsmith {

// Moves the continuous parameters in turn, each by conjugate gradients from its present values,
// toward the least cost of `target` - the matrix [out, in]; the objective has no shift. A parameter
// that the objective would not fall for keeps its values: it never rises. Values are not rounded to
// what the file stores. Every parameter must want a gradient. Returns whether any has moved.
bool solve_continuous(Representation& representation, const torch::Tensor& target,
                      const Objective& objective, int iterations);

}  // namespace bitsmith
