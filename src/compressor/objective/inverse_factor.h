// What GPTQ and its relatives need of a Hessian.
#pragma once
#include "compressor/torch.h"

namespace bitsmith {

// U [in, in] with H^-1 = U^T U, upper triangular, float32, from a float64 factorization. The
// diagonal is raised by damping * mean, by twice as much after every failure; Error when nothing
// helps. Dead inputs (never active) get a diagonal of one and have no neighbors: they are rounded
// to nearest. The result does not depend on the number of threads.
torch::Tensor inverse_factor(const torch::Tensor& hessian, double damping);

// Turns a lower triangular matrix, float32 or float64, into its inverse, in place, likewise. What
// lies above the diagonal is not read, and zero afterwards.
void invert_lower_(torch::Tensor& lower);

}  // namespace bitsmith
