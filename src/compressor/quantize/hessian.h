// The Hessian of a layer's squared output error with respect to a row of its weights: 2/n sum x x^T
// over the n inputs seen (Frantar et al. 2022).
#pragma once
#include "compressor/torch.h"

namespace bitsmith {

// A running mean; inputs shared by several matrices (q, k and v) share one.
class HessianSum {
 public:
  explicit HessianSum(int64_t in_features);
  void add(const torch::Tensor& x);  // [..., in], any float dtype
  // [in, in] float32; zeros when nothing was seen.
  torch::Tensor hessian() const;

 private:
  torch::Tensor sum_;  // float64: thousands of float32 products are added; the upper triangle
  int64_t count_ = 0;
};

// The running mean 2/n sum (reference - x) x^T, where x are the inputs that a layer gets in the
// quantized model, and `reference` those that it got in the original.
class CrossSum {
 public:
  explicit CrossSum(int64_t in_features);
  void add(const torch::Tensor& reference, const torch::Tensor& x);  // [..., in], any float dtype
  torch::Tensor cross() const;                                       // [in, in] float32

 private:
  torch::Tensor sum_;  // float64
  int64_t count_ = 0;
};

// C H^-1 [in, in], C the cross sum: what the original's inputs differ by, as a linear map of the
// quantized model's. The weights W + W C H^-1 give, on the quantized model's inputs, the least
// squares approximation of the outputs that the original gives on its own (GPTAQ, Li et al. 2025;
// QEP, Arai & Ichikawa 2025). tr((T-Q) H (T-Q)^T) of that target T is the error against the
// original's outputs, up to what no Q can change. H is damped as in inverse_factor().
torch::Tensor input_drift(const torch::Tensor& hessian, const torch::Tensor& cross, double damping);

// Objective of a quantized matrix: tr(D H D^T), D = weight - quantized (H undefined: identity). Of
// H, which is symmetric, the upper triangle is read and, near the diagonal, a little more.
// The product in float32 or, if `exact`, in float64; sums in float64. Does not depend on the
// number of threads.
double quadratic_error(const torch::Tensor& difference, const torch::Tensor& hessian, bool exact);
// Its share of each row: [out] float64.
torch::Tensor row_errors(const torch::Tensor& difference, const torch::Tensor& hessian, bool exact);

// a @ b, float32 or float64, in row chunks whose size hangs on the shape only, so that results do
// not depend on the number of threads.
torch::Tensor row_chunked_matmul(const torch::Tensor& a, const torch::Tensor& b);
// y -= a @ b likewise; y may be a part of a matrix.
void row_chunked_subtract(const torch::Tensor& a, const torch::Tensor& b, const torch::Tensor& y);

}  // namespace bitsmith
