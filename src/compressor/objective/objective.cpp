#include "compressor/objective/objective.h"

#include <numeric>

#include "base/error.h"
#include "compressor/objective/inverse_factor.h"
#include "compressor/objective/row_products.h"

namespace bitsmith {
namespace {

void require_finite(const torch::Tensor& values, const char* what) {
  if (torch::isfinite(values).all().item<bool>()) return;
  const auto bad = torch::isfinite(values).logical_not().nonzero()[0];
  std::string place;
  for (int64_t i = 0; i < bad.numel(); ++i) {
    place += concat(i > 0 ? ", " : "", bad[i].item<int64_t>());
  }
  throw Error(
      concat("the ", what, " holds NaN or infinity, first at [", place, "]; it cannot be used"));
}

// A product with a symmetric matrix is not symmetric to the last bit.
torch::Tensor symmetric(const torch::Tensor& matrix) {
  const auto upper = matrix.triu();
  return upper + upper.triu(1).t();
}

// R M R^T of a symmetric matrix [n, n], or of a diagonal [n].
torch::Tensor rotated_matrix(const torch::Tensor& matrix, const Objective::Rotation& rotate) {
  if (!matrix.defined() || !rotate) return matrix;
  // A multiple of the identity is the same in every space.
  if (matrix.dim() == 1 && (matrix == matrix[0]).all().item<bool>()) return matrix;
  const auto full = matrix.dim() == 1 ? torch::diag(matrix) : matrix;
  return symmetric(rotate(rotate(full).t().contiguous())).contiguous();
}

// The quadratic form of each row in H, [rows] float64.
torch::Tensor input_errors(const torch::Tensor& difference, const torch::Tensor& hessian,
                           bool exact) {
  constexpr int64_t kBlock = 384;
  const auto dtype = exact ? torch::kDouble : torch::kFloat;
  const auto h = hessian.defined() ? hessian.to(dtype) : hessian;
  auto errors = torch::empty({difference.size(0)}, torch::kDouble);
  each_row_chunk(difference.size(0), [&](int64_t begin, int64_t count) {
    const auto d = difference.narrow(0, begin, count).to(dtype);
    const auto sum = [](const torch::Tensor& products) {
      return products.sum(1, /*keepdim=*/false, torch::kDouble);
    };
    auto own = errors.narrow(0, begin, count);
    if (!h.defined() || h.dim() == 1) {
      own.copy_(sum(h.defined() ? d * d * h : d * d));
      return;
    }
    own.zero_();
    for (int64_t first = 0; first < d.size(1); first += kBlock) {  // H's blocks above its diagonal
      const int64_t width = std::min(kBlock, d.size(1) - first);
      const auto part = d.narrow(1, first, width), columns = h.narrow(1, first, width);
      auto product = at::mm(part, columns.narrow(0, first, width));
      product.addmm_(d.narrow(1, 0, first), columns.narrow(0, 0, first), 1, 2);
      own.add_(sum(product * part));
    }
  });
  return errors;
}

torch::Tensor times_hessian(const torch::Tensor& matrix, const torch::Tensor& hessian) {
  if (!hessian.defined()) return matrix;
  return hessian.dim() == 1 ? matrix * hessian : row_chunked_matmul(matrix, hessian);
}

}  // namespace

void Objective::check(int64_t out, int64_t in) const {
  if (hessian.defined()) {
    if (hessian.dim() != 2 || hessian.size(0) != in || hessian.size(1) != in) {
      throw Error(concat("a weight with ", in, " inputs needs a Hessian of ", in, " x ", in));
    }
    require_finite(hessian, "Hessian");
  }
  if (output_factor.defined()) {
    const bool fits = joins_rows() ? output_factor.size(0) == out && output_factor.size(1) == out
                                   : output_factor.dim() == 1 && output_factor.size(0) == out;
    if (!fits) {
      throw Error(concat("a weight with ", out, " rows needs ", out,
                         " weights of rows, or an output factor of ", out, " x ", out));
    }
    const char* what = joins_rows() ? "output factor" : "list of row weights";
    require_finite(output_factor, what);
    const auto weights = row_weights();
    if ((weights < 0).any().item<bool>()) {
      throw Error(concat("the ", what, " has a negative weight for row ",
                         (weights < 0).nonzero()[0].item<int64_t>(), "; weights are at least 0"));
    }
    if (joins_rows() && (output_factor - output_factor.t()).abs().max().item<float>() >
                            1e-3f * weights.max().item<float>()) {
      throw Error("the output factor is not symmetric; it is not a sum of g g^T");
    }
  }
  if (shift.defined()) {
    if (shift.dim() != 2 || shift.size(0) != out || shift.size(1) != in) {
      throw Error(concat("the shift of the target is not ", out, " x ", in));
    }
    require_finite(shift, "shift of the target");
  }
}

torch::Tensor Objective::target(const torch::Tensor& weight) const {
  return shift.defined() ? weight + shift : weight;
}

Objective Objective::centered() const {
  Objective same = *this;
  same.shift = torch::Tensor();
  return same;
}

torch::Tensor Objective::row_errors(const torch::Tensor& difference, bool exact) const {
  const torch::NoGradGuard no_grad;
  const auto e = target(difference);
  if (!joins_rows()) {
    const auto errors = input_errors(e, hessian, exact);
    return output_factor.defined() ? errors * output_factor.to(torch::kDouble) : errors;
  }
  const auto dtype = exact ? torch::kDouble : torch::kFloat;
  const auto wide = e.to(dtype);
  const auto h = hessian.defined() ? hessian.to(dtype) : hessian;
  const auto product = row_chunked_matmul(output_factor.to(dtype), wide);
  return (product * times_hessian(wide, h)).sum(1, /*keepdim=*/false, torch::kDouble);
}

double Objective::error(const torch::Tensor& difference, bool exact) const {
  const auto errors = row_errors(difference, exact);
  const auto* row = errors.const_data_ptr<double>();
  return std::accumulate(row, row + errors.numel(), 0.0);
}

torch::Tensor Objective::apply(const torch::Tensor& difference) const {
  const torch::NoGradGuard no_grad;
  const auto product = times_hessian(target(difference), hessian);
  if (!output_factor.defined()) return product;
  return joins_rows() ? row_chunked_matmul(output_factor, product)
                      : product * output_factor.unsqueeze(1);
}

torch::Tensor Objective::sub_hessians(int64_t in, int64_t size) const {
  const int64_t count = in / size;
  if (!hessian.defined()) {
    return torch::eye(size, torch::kFloat).expand({count, size, size}).contiguous();
  }
  if (!joins_inputs()) return torch::diag_embed(hessian.reshape({count, size})).contiguous();
  return hessian.reshape({count, size, count, size})
      .diagonal(0, 0, 2)
      .permute({2, 0, 1})
      .contiguous();
}

torch::Tensor Objective::dense_hessian(int64_t in) const {
  if (joins_inputs()) return hessian;
  return hessian.defined() ? torch::diag(hessian) : torch::eye(in, torch::kFloat);
}

torch::Tensor Objective::factor(int64_t in, double damping) const {
  return inverse_factor(dense_hessian(in), damping);
}

torch::Tensor Objective::row_weights() const {
  return joins_rows() ? output_factor.diagonal().contiguous() : output_factor;
}

Objective Objective::rotated(const Rotation& rotate_in, const Rotation& rotate_out) const {
  const torch::NoGradGuard no_grad;
  Objective moved(rotated_matrix(hessian, rotate_in));
  moved.output_factor = rotated_matrix(output_factor, rotate_out);
  moved.shift = shift;
  if (shift.defined() && rotate_in) moved.shift = rotate_in(moved.shift);
  if (shift.defined() && rotate_out) {
    moved.shift = rotate_out(moved.shift.t().contiguous()).t().contiguous();
  }
  return moved;
}

torch::Tensor cross_term_shift(const torch::Tensor& weight, const torch::Tensor& drift,
                               double share) {
  return share * row_chunked_matmul(weight, drift);
}

}  // namespace bitsmith
