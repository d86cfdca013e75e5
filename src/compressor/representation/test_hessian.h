// A Hessian for the tests of this folder.
#pragma once
#include "compressor/torch.h"

namespace bitsmith {

// [in, in] positive definite: inputs of different sizes that go together.
inline torch::Tensor random_hessian(int64_t in) {
  const auto x = torch::randn({2 * in, in}) * torch::linspace(0.3, 3.0, in);
  return (torch::matmul(x.t(), x) + 2 * x.sum(0).outer(x.sum(0)) / (2 * in)) / in;
}

}  // namespace bitsmith
