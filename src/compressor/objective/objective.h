// What the error of a quantized matrix costs. Every search, solve and report of a matrix takes one.
#pragma once
#include <functional>

#include "compressor/torch.h"

namespace bitsmith {

// The cost of D = W - Q [out, in]: tr(G E H E^T), E = D + S. H belongs to the inputs, G to the
// outputs, S is the shift of the target that a cross term makes: Q should be near to W + S. What S
// adds to tr(G D H D^T) is linear in D, and a constant. The number of threads changes no result.
// Const calls may run at the same time.
struct Objective {
  // [in, in], symmetric positive semi-definite: 2/n sum x x^T (hessian_sum.h). [in]: a diagonal.
  // Undefined: the identity. All tensors float32.
  torch::Tensor hessian;
  // [out] at least zero: weights of rows, a diagonal. [out, out], symmetric positive semi-definite:
  // full, rows meet. Undefined: the identity.
  torch::Tensor output_factor;
  torch::Tensor shift;  // [out, in]; undefined: zero

  Objective() = default;
  // A Hessian alone is an objective.
  Objective(torch::Tensor input_hessian) : hessian(std::move(input_hessian)) {}

  // Error, which says what is wrong, unless this fits weights [out, in] with a full H or none: the
  // sizes, finite numbers, no negative weight of a row, a symmetric G.
  void check(int64_t out, int64_t in) const;

  bool joins_inputs() const { return hessian.defined() && hessian.dim() == 2; }
  bool joins_rows() const { return output_factor.defined() && output_factor.dim() == 2; }
  // No weight's cost depends on another weight's error.
  bool separable() const { return !joins_inputs() && !joins_rows(); }

  // W + S; weight itself where there is no shift.
  torch::Tensor target(const torch::Tensor& weight) const;
  // The same cost of T - Q, T the target: H and G without the shift.
  Objective centered() const;

  // The cost. Products in float32 or, if `exact`, in float64; sums in float64. Of a full H the
  // upper triangle is read and, near the diagonal, a little more.
  double error(const torch::Tensor& difference, bool exact = true) const;
  // [out] float64, whose sum is the cost: each row's share. With a full G one may be negative.
  torch::Tensor row_errors(const torch::Tensor& difference, bool exact = true) const;
  // G (D + S) H [out, in]: half the cost's gradient in D, which is half its negative slope in Q.
  torch::Tensor apply(const torch::Tensor& difference) const;

  // The diagonal blocks of H of `size` neighboring inputs each [in / size, size, size], contiguous.
  torch::Tensor sub_hessians(int64_t in, int64_t size) const;
  // H [in, in], a diagonal or the identity written out.
  torch::Tensor dense_hessian(int64_t in) const;
  // U [in, in], H^-1 = U^T U (inverse_factor.h).
  torch::Tensor factor(int64_t in, double damping) const;
  // The diagonal of G [out]; undefined where G is the identity.
  torch::Tensor row_weights() const;

  // The objective of the weights in a rotated space, W' = R_out W R_in^T, which costs an error D' =
  // R_out D R_in^T the same. A rotation is orthogonal and maps the last dimension of a tensor; none
  // (an empty function): the identity. A diagonal of different weights
  // becomes full where it is rotated.
  using Rotation = std::function<torch::Tensor(const torch::Tensor&)>;
  Objective rotated(const Rotation& rotate_in, const Rotation& rotate_out) const;
};

// The shift that a cross term makes: share * W (C H^-1), drift = C H^-1 [in, in] (input_drift()).
torch::Tensor cross_term_shift(const torch::Tensor& weight, const torch::Tensor& drift,
                               double share);

}  // namespace bitsmith
