#include "compressor/representation/kinds/uniform.h"

#include "base/error.h"
#include "compressor/representation/format_parts.h"
#include "compressor/representation/kinds/code_search_reference.h"
#include "compressor/representation/kinds/kinds.h"
#include "compressor/representation/kinds/uniform_search.h"

namespace bitsmith {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// Keeps integers only for the way back: a float matrix per linear would cost as much as the model.
class DequantizeUniform : public torch::autograd::Function<DequantizeUniform> {
 public:
  // scales, zeros [out, groups]; codes [out * in, 1]
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& scales,
                               const torch::Tensor& zeros, const torch::Tensor& codes) {
    context->save_for_backward({scales, zeros, codes});
    return levels(scales, zeros, codes).mul_(scales.unsqueeze(2)).reshape({scales.size(0), -1});
  }
  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    const auto saved = context->get_saved_variables();
    const auto& scales = saved[0];
    const auto grad = grads[0].to(torch::kFloat).reshape({scales.size(0), scales.size(1), -1});
    const auto of_zeros = context->needs_input_grad(1) ? -scales * grad.sum(2) : torch::Tensor();
    return {levels(scales, saved[1], saved[2]).mul_(grad).sum(2), of_zeros, torch::Tensor()};
  }

 private:
  static torch::Tensor levels(const torch::Tensor& scales, const torch::Tensor& zeros,
                              const torch::Tensor& codes) {
    const auto grouped = codes.reshape({scales.size(0), scales.size(1), -1});
    return grouped.to(torch::kFloat).sub_(zeros.unsqueeze(2));
  }
};

// [n, 1] int32. Where the scale is zero every code is as good: the present one.
torch::Tensor nearest_codes(const torch::Tensor& wanted, const torch::Tensor& scales,
                            const torch::Tensor& zeros, const torch::Tensor& present,
                            int64_t largest) {
  const auto usable = (scales != 0).expand_as(wanted).reshape({-1, 1});
  const auto codes = (wanted / scales + zeros).round_().clamp_(0, largest).reshape({-1, 1});
  return torch::where(usable, codes, present).to(torch::kInt);
}

}  // namespace

UniformTerm::UniformTerm(const UniformSpec& spec, const torch::Tensor& scales,
                         const torch::Tensor& zeros, const torch::Tensor& codes)
    : CodedTerm(spec, codes.size(0), codes.size(1)),
      uniform_(spec),
      scales_(scales.detach().contiguous().requires_grad_(true)),
      zeros_(spec.zero_points
                 ? zeros.detach().to(torch::kFloat).contiguous().clone().requires_grad_(true)
                 : torch::full(scales.sizes(), static_cast<float>(1 << (spec.nbits - 1)),
                               scales.options().requires_grad(false))),
      codes_(codes.to(code_dtype(spec.nbits)).contiguous().reshape({-1, 1})) {
  const int64_t group_size = spec.group_size > 0 ? spec.group_size : in_features_;
  BITSMITH_CHECK(scales.size(0) == out_features_ && scales.size(1) * group_size == in_features_);
  BITSMITH_CHECK(zeros_.sizes() == scales_.sizes());
}

std::unique_ptr<CodedTerm> make_term(const UniformSpec& spec, const QuantizedTensor& tensor) {
  const int64_t groups = spec.group_size > 0 ? tensor.in_features / spec.group_size : 1;
  return std::make_unique<UniformTerm>(
      spec, read_fp16_part(tensor, "scales", {tensor.out_features, groups}),
      spec.zero_points ? read_packed_part(tensor, "zeros", groups, spec.nbits) : torch::Tensor(),
      read_codes(tensor));
}

torch::Tensor UniformTerm::dequantize() const {
  return DequantizeUniform::apply(scales_, zeros_, codes_);
}

std::vector<ContinuousParameter> UniformTerm::continuous_parameters() const {
  std::vector<ContinuousParameter> all = {{"scales", scales_}};
  if (uniform_.zero_points) all.push_back({"zeros", zeros_});
  return all;
}

void UniformTerm::project() {
  const torch::NoGradGuard no_grad;
  scales_.copy_(round_to_fp16(scales_));
  if (uniform_.zero_points) zeros_.round_().clamp_(0, (1 << uniform_.nbits) - 1);
}

torch::Tensor UniformTerm::search_codes(const torch::Tensor& target, const Objective& objective,
                                        const torch::Tensor& code_groups) const {
  const torch::NoGradGuard no_grad;
  if (!objective.separable()) {
    if (!codes_.is_cpu()) {
      return search_uniform_reference(*this, uniform_.nbits, scales_, zeros_, target, objective,
                                      code_groups);
    }
    UniformSearch search(scales_, zeros_, in_features_ / scales_.size(1), uniform_.nbits);
    return search_code_groups(search, dequantize(), codes_, target, objective, code_groups);
  }
  // Scalars do not meet: the nearest level, whatever the weights.
  const auto shifted = objective.target(target);
  const int64_t per_row = scales_.size(1), largest = (int64_t{1} << uniform_.nbits) - 1;
  if (!code_groups.defined()) {
    const auto wanted = shifted.reshape({out_features_, per_row, -1});
    return nearest_codes(wanted, scales_.unsqueeze(2), zeros_.unsqueeze(2), codes_, largest);
  }
  const auto at = code_groups.floor_divide(in_features_ / per_row);
  return nearest_codes(
      shifted.reshape(-1).index_select(0, code_groups), scales_.reshape(-1).index_select(0, at),
      zeros_.reshape(-1).index_select(0, at), codes_.index_select(0, code_groups), largest);
}

// The nearest level where it is another one; else the level on the target's other side.
torch::Tensor UniformTerm::search_neighbors(const torch::Tensor& target, const torch::Tensor& codes,
                                            const torch::Tensor& code_groups) const {
  const torch::NoGradGuard no_grad;
  const int64_t size = in_features_ / scales_.size(1), largest = (int64_t{1} << uniform_.nbits) - 1;
  const auto listed = code_groups.defined()
                          ? code_groups
                          : torch::arange(num_code_groups(), codes.options().dtype(torch::kLong));
  const auto at = listed.floor_divide(size);
  const auto scales = scales_.reshape(-1).index_select(0, at);
  const auto level =
      target.reshape(-1).index_select(0, listed) / scales + zeros_.reshape(-1).index_select(0, at);
  const auto present = codes.reshape(-1).to(torch::kFloat);
  const auto nearest = level.round().clamp(0, largest);
  const auto up = ((level >= present) & (present < largest)) | (present == 0);
  const auto beside = present + torch::where(up, 1, -1);
  const auto found = torch::where(nearest == present, beside, nearest);
  return torch::where(scales != 0, found, present).to(torch::kInt).reshape({-1, 1});
}

torch::Tensor UniformTerm::decode_code_groups(const torch::Tensor& code_groups,
                                              const torch::Tensor& codes) const {
  const torch::NoGradGuard no_grad;
  auto scales = scales_.unsqueeze(2), zeros = zeros_.unsqueeze(2);
  if (!code_groups.defined()) {
    const auto levels = codes.reshape({scales.size(0), scales.size(1), -1}) - zeros;
    return (levels * scales).reshape({-1, 1});
  }
  const auto at = code_groups.floor_divide(in_features_ / scales_.size(1));
  return scales.reshape({-1, 1}).index_select(0, at) *
         (codes - zeros.reshape({-1, 1}).index_select(0, at));
}

void UniformTerm::store(const QuantizedTensor& tensor) const {
  write_codes(tensor, codes_.reshape({out_features_, in_features_}));
  write_fp16_part(tensor, "scales", scales_);
  if (uniform_.zero_points) {
    write_packed_part(tensor, "zeros", zeros_.detach().round(), uniform_.nbits);
  }
}

}  // namespace bitsmith
