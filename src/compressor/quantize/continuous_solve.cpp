#include "compressor/quantize/continuous_solve.h"

#include "base/error.h"
#include "compressor/quantize/conjugate_gradients.h"

namespace bitsmith {
namespace {

// Of one parameter v, the others fixed: the matrix is M(v) = M(0) + J v.
class LinearParameter {
 public:
  LinearParameter(Representation& representation, torch::Tensor& value)
      : representation_(representation), value_(value), start_(value.detach().clone()) {
    BITSMITH_CHECK(value.requires_grad());
    origin_ = dense(torch::zeros_like(start_));
    put(start_);
  }

  const torch::Tensor& start() const { return start_; }
  void put(const torch::Tensor& at) {
    const torch::NoGradGuard no_grad;
    value_.copy_(at);
  }
  // M(v), which v becomes.
  torch::Tensor dense(const torch::Tensor& at) {
    put(at);
    const torch::NoGradGuard no_grad;
    return representation_.dequantize();
  }
  torch::Tensor apply(const torch::Tensor& v) { return dense(v) - origin_; }
  // J^T y.
  torch::Tensor transposed(const torch::Tensor& y) {
    const torch::AutoGradMode with_gradients(true);
    return torch::autograd::grad({representation_.dequantize()}, {value_}, {y.contiguous()})
        .front()
        .reshape(start_.sizes());
  }

 private:
  Representation& representation_;
  torch::Tensor& value_;
  torch::Tensor start_, origin_;
};

// What stands for the diagonal of J^T (G x H) J: each parameter's share of the cost of all of them.
torch::Tensor curvatures(LinearParameter& parameter, const Objective& objective) {
  auto image = parameter.apply(torch::ones_like(parameter.start()));
  if (objective.hessian.defined()) {
    image = image * (objective.joins_inputs() ? objective.hessian.diagonal() : objective.hessian);
  }
  const auto row_weights = objective.row_weights();
  if (row_weights.defined()) image = image * row_weights.unsqueeze(1);
  const auto found = parameter.transposed(image).abs();
  return found.clamp_min(1e-3 * found.mean().item<double>());
}

}  // namespace

bool solve_continuous(Representation& representation, const torch::Tensor& target,
                      const Objective& objective, int iterations) {
  BITSMITH_CHECK(!objective.shift.defined());
  bool moved = false;
  for (auto& continuous : representation.continuous_parameters()) {
    LinearParameter parameter(representation, continuous.value);
    const auto present = parameter.dense(parameter.start());
    const auto diagonal = curvatures(parameter, objective);
    if (!(diagonal.max().item<float>() > 0)) {
      parameter.put(parameter.start());
      continue;
    }
    const auto residual = parameter.transposed(objective.apply(target - present));
    const auto found = conjugate_gradients(
        parameter.start(), residual,
        [&](const torch::Tensor& v) {
          return parameter.transposed(objective.apply(parameter.apply(v)));
        },
        [&](const torch::Tensor& r) { return r / diagonal; }, iterations, /*systems=*/1);
    const double before = objective.error(target - present);
    if (objective.error(target - parameter.dense(found)) < before) {
      moved = true;
    } else {
      parameter.put(parameter.start());
    }
  }
  return moved;
}

}  // namespace bitsmith
