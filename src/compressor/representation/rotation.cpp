#include "compressor/representation/rotation.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "compressor/representation/format_parts.h"
#include "format/kinds/hadamard_matrix.h"

namespace bitsmith {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

constexpr int64_t kTaskRows = 16;

// Signs of a side that is not rotated are empty.
bool rotated_side(const torch::Tensor& signs) { return signs.numel() > 0; }

bool has_kernel(const torch::Tensor& x) { return x.is_cpu() && x.scalar_type() == torch::kFloat; }

// Along the last dimension. In place where it can be: x is the caller's to lose.
torch::Tensor hadamard_rows(const torch::Tensor& x, int64_t block) {
  if (!has_kernel(x)) return hadamard_reference(x, block);
  auto result = x.contiguous();
  const int64_t n = x.size(-1), rows = x.numel() / n;
  auto* data = result.mutable_data_ptr<float>();
  at::parallel_for(0, rows, kTaskRows, [&](int64_t begin, int64_t end) {
    hadamard_along_rows(data + begin * n, end - begin, n, block);
  });
  return result;
}

// Of a matrix, along its first dimension; otherwise the same.
torch::Tensor hadamard_columns(const torch::Tensor& x, int64_t block) {
  if (!has_kernel(x)) return hadamard_reference(x.t(), block).t().contiguous();
  auto result = x.contiguous();
  const int64_t columns = x.size(1);
  auto* data = result.mutable_data_ptr<float>();
  at::parallel_for(0, x.size(0) / block, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      hadamard_down_columns(data + b * block * columns, block, columns);
    }
  });
  return result;
}

class RotateToWeights : public torch::autograd::Function<RotateToWeights> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& rotated,
                               const torch::Tensor& input_signs, const torch::Tensor& output_signs,
                               int64_t in_block, int64_t out_block) {
    context->save_for_backward({input_signs, output_signs});
    context->saved_data["in_block"] = in_block;
    context->saved_data["out_block"] = out_block;
    torch::Tensor w = rotated.clone();
    if (rotated_side(output_signs))
      w = hadamard_columns(w, out_block).mul_(output_signs.unsqueeze(1));
    if (rotated_side(input_signs)) w = hadamard_rows(w, in_block).mul_(input_signs);
    return w;
  }
  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    const auto signs = context->get_saved_variables();
    auto gradient =
        to_code_space(grads[0], signs[0], signs[1], context->saved_data["in_block"].toInt(),
                      context->saved_data["out_block"].toInt());
    return {gradient, torch::Tensor(), torch::Tensor(), torch::Tensor(), torch::Tensor()};
  }
  static torch::Tensor to_code_space(const torch::Tensor& weights, const torch::Tensor& input_signs,
                                     const torch::Tensor& output_signs, int64_t in_block,
                                     int64_t out_block) {
    torch::Tensor v = weights;
    if (rotated_side(input_signs)) v = hadamard_rows(v * input_signs, in_block);
    if (rotated_side(output_signs)) v = hadamard_columns(v * output_signs.unsqueeze(1), out_block);
    return v;
  }
};

// Hadamard blocks along the rows or, with `down`, along the columns. Each is its own transpose.
class HadamardBlocks : public torch::autograd::Function<HadamardBlocks> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x, int64_t block,
                               bool down) {
    context->saved_data["block"] = block;
    context->saved_data["down"] = down;
    return blocks(x.clone(), block, down);
  }
  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    return {blocks(grads[0].clone(), context->saved_data["block"].toInt(),
                   context->saved_data["down"].toBool()),
            torch::Tensor(), torch::Tensor()};
  }

 private:
  static torch::Tensor blocks(const torch::Tensor& x, int64_t block, bool down) {
    return down ? hadamard_columns(x, block) : hadamard_rows(x, block);
  }
};

// 1 / sign, and 0 for 0. Of +1 and -1 the same.
torch::Tensor inverse_signs(const torch::Tensor& signs) {
  return torch::where(signs == 0, signs, signs.reciprocal());
}

torch::Tensor random_signs(int64_t count, uint64_t seed, uint64_t side) {
  Random random(seed, (static_cast<uint64_t>(count) << 1) | side);
  auto signs = torch::empty({count}, torch::kFloat);
  auto* sign = signs.mutable_data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) sign[i] = random.below(2) == 0 ? 1.0f : -1.0f;
  return signs;
}

torch::Tensor as_tensor(const std::vector<float>& signs) {
  return signs.empty() ? torch::empty({0}) : torch::tensor(signs);
}

torch::Tensor rotated_along(const torch::Tensor& x, const torch::Tensor& signs, int64_t block) {
  return rotated_side(signs) ? hadamard_rows(x * signs.detach().to(x.scalar_type()), block) : x;
}

}  // namespace

torch::Tensor hadamard_reference(const torch::Tensor& x, int64_t block) {
  const auto sizes = x.sizes().vec();
  const int64_t m = hadamard_factor(block), power = block / m;
  torch::Tensor values = x.reshape({-1, block});
  for (int64_t half = 1; half < power; half *= 2) {
    const auto pairs = values.reshape({-1, block / (2 * half), 2, half});
    const auto a = pairs.select(2, 0), b = pairs.select(2, 1);
    values = torch::stack({a + b, a - b}, 2);
  }
  if (m > 1) {
    const auto signs = hadamard_matrix(m);
    const auto h = torch::tensor(std::vector<float>(signs.begin(), signs.end())).view({m, m});
    values = torch::matmul(h.to(x.options()), values.reshape({-1, m, power}));
  }
  return values.reshape(sizes) * (1 / std::sqrt(static_cast<double>(block)));
}

Rotation::Rotation(const TransformSpec& spec, int64_t out_features, int64_t in_features,
                   uint64_t seed)
    : spec_(spec),
      input_signs_(random_signs(spec.in_block > 0 ? in_features : 0, seed, 0)),
      output_signs_(random_signs(spec.out_block > 0 ? out_features : 0, seed, 1)) {
  BITSMITH_CHECK(spec == spec.resolved(out_features, in_features, ""));
  want_gradients();
}

Rotation::Rotation(const QuantizedTensor& tensor)
    : spec_(tensor.spec.transform.value()),
      input_signs_(as_tensor(input_signs(tensor))),
      output_signs_(as_tensor(output_signs(tensor))) {
  want_gradients();
}

void Rotation::want_gradients() {
  for (auto& parameter : continuous_parameters()) parameter.value.set_requires_grad(true);
}

torch::Tensor Rotation::to_weights(const torch::Tensor& rotated) const {
  if (spec_.real_signs) {
    torch::Tensor w = rotated;
    if (rotated_side(output_signs_))
      w = HadamardBlocks::apply(w, spec_.out_block, /*down=*/true) * output_signs_.unsqueeze(1);
    if (rotated_side(input_signs_))
      w = HadamardBlocks::apply(w, spec_.in_block, /*down=*/false) * input_signs_;
    return w;
  }
  return RotateToWeights::apply(rotated, input_signs_, output_signs_, spec_.in_block,
                                spec_.out_block);
}

torch::Tensor Rotation::to_code_space(const torch::Tensor& weights) const {
  const torch::NoGradGuard no_grad;
  return RotateToWeights::to_code_space(weights, inverse_signs(input_signs_),
                                        inverse_signs(output_signs_), spec_.in_block,
                                        spec_.out_block);
}

torch::Tensor Rotation::gradient_to_code_space(const torch::Tensor& gradient) const {
  const torch::NoGradGuard no_grad;
  return RotateToWeights::to_code_space(gradient, input_signs_, output_signs_, spec_.in_block,
                                        spec_.out_block);
}

Objective Rotation::to_code_space(const Objective& objective) const {
  Objective::Rotation inputs, outputs;
  if (spec_.in_block > 0) inputs = [this](const torch::Tensor& x) { return rotate_inputs(x); };
  if (spec_.out_block > 0) outputs = [this](const torch::Tensor& y) { return rotate_outputs(y); };
  return objective.rotated(inputs, outputs);
}

torch::Tensor Rotation::rotate_inputs(const torch::Tensor& x) const {
  return rotated_along(x, input_signs_, spec_.in_block);
}

torch::Tensor Rotation::rotate_outputs(const torch::Tensor& y) const {
  return rotated_along(y, output_signs_, spec_.out_block);
}

std::vector<ContinuousParameter> Rotation::continuous_parameters() const {
  std::vector<ContinuousParameter> all;
  if (!spec_.real_signs) return all;
  if (rotated_side(input_signs_)) all.push_back({"input_signs", input_signs_, true});
  if (rotated_side(output_signs_)) all.push_back({"output_signs", output_signs_, true});
  return all;
}

void Rotation::project() {
  const torch::NoGradGuard no_grad;
  for (auto& parameter : continuous_parameters())
    parameter.value.copy_(round_to_fp16(parameter.value));
}

void Rotation::store(const QuantizedTensor& tensor) const {
  const auto write = [&](const char* part, const torch::Tensor& signs) {
    if (!rotated_side(signs)) return;
    if (spec_.real_signs) return write_fp16_part(tensor, part, signs);
    write_signs(tensor, part, {signs.const_data_ptr<float>(), static_cast<size_t>(signs.numel())});
  };
  write("input_signs", input_signs_);
  write("output_signs", output_signs_);
}

}  // namespace bitsmith
