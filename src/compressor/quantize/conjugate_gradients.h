// Conjugate gradients for the continuous parts of a quantized matrix, whose objective is quadratic.
#pragma once
#include <functional>

#include "compressor/torch.h"

namespace bitsmith {

using LinearMap = std::function<torch::Tensor(const torch::Tensor&)>;

// Minimizes x^T A x / 2 - b^T x from `start`, with residual = b - A start; `apply` is A, symmetric
// positive semi-definite, `precondition` an approximation of its inverse. With systems > 1 the
// first dimension is cut into as many equal parts which A does not mix: each takes steps of its
// own. float32 on the CPU; the sums of a system are taken in one thread, so that the result does
// not depend on the number of threads. The objective never rises by more than rounding.
torch::Tensor conjugate_gradients(const torch::Tensor& start, const torch::Tensor& residual,
                                  const LinearMap& apply, const LinearMap& precondition,
                                  int iterations, int64_t systems);

}  // namespace bitsmith
