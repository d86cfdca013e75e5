// The Hessian of a layer's squared output error with respect to a row of its weights: 2/n sum x x^T
// over the n inputs seen (Frantar et al. 2022).
#pragma once
#include <torch/torch.h>

namespace bitsmith {

// A running mean; inputs shared by several matrices (q, k and v) share one.
class HessianSum {
 public:
  explicit HessianSum(int64_t in_features);
  // x [..., in], any float dtype.
  void add(const torch::Tensor& x);
  int64_t count() const { return count_; }  // inputs seen
  // [in, in] float32; zeros when nothing was seen.
  torch::Tensor hessian() const;

 private:
  torch::Tensor sum_;  // float64: thousands of float32 products are added
  int64_t count_ = 0;
};

// Objective of a quantised matrix: tr(D H D^T), D = weight - quantized (H undefined: identity).
// The product in float32 or, if `exact`, in float64; sums in float64. Does not depend on the
// number of threads.
double quadratic_error(const torch::Tensor& difference, const torch::Tensor& hessian, bool exact);

// a @ b, float32 or float64, in row chunks of a fixed size, so that results do not depend on the
// number of threads.
torch::Tensor row_chunked_matmul(const torch::Tensor& a, const torch::Tensor& b);

}  // namespace bitsmith
