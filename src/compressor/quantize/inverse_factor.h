// What GPTQ and its relatives need of a Hessian.
#pragma once
#include <torch/torch.h>

namespace bitsmith {

// U with H^-1 = U^T U, upper triangular, float32, from a float64 factorisation. The diagonal is
// raised by damping * mean, by twice as much after every failure. Dead inputs (never active) get a
// diagonal of one and have no neighbours: they are rounded to nearest.
torch::Tensor inverse_factor(const torch::Tensor& hessian, double damping);

}  // namespace bitsmith
