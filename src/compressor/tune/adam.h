// Adam (Kingma & Ba 2015) with the paper's (0.9, 0.95) and bias correction, no weight decay.
#pragma once
#include "compressor/torch.h"

namespace bitsmith {

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;  // gradients here are 1e-6 and more
};

// Moments of one tensor. Continuous parameters keep them in float32, dense weight gradients (the V
// step's) in bfloat16: half the memory, and one step changes a moment by more than bfloat16's
// spacing.
struct AdamState {
  torch::Tensor first, second;  // the gradient's shape; undefined before the first step

  // Takes in `gradient` (float32) as step number `step` (from 1) and returns the update direction
  // m / (sqrt(v) + epsilon), bias-corrected, about 1 in size; the caller subtracts rate *
  // direction.
  torch::Tensor direction(const torch::Tensor& gradient, int64_t step, torch::Dtype storage,
                          const AdamOptions& options);
};

}  // namespace bitsmith
