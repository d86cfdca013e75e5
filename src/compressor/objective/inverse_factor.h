// What GPTQ and its relatives need of a Hessian.
#pragma once
#include "compressor/torch.h"

namespace bitsmith {

// U [in, in] with H^-1 = U^T U, upper triangular, float32, from a float64 factorization. The
// diagonal is raised by damping * mean, by twice as much after every failure; Error when nothing
// helps. Dead inputs (never active) get a diagonal of one and have no neighbors: they are rounded
// to nearest. The result does not depend on the number of threads.
torch::Tensor inverse_factor(const torch::Tensor& hessian, double damping);

// The inverse of a lower triangular matrix, float32 or float64, likewise; zeros above its diagonal.
// What `lower` holds above its own is not read.
torch::Tensor lower_inverse(const torch::Tensor& lower);

}  // namespace bitsmith
