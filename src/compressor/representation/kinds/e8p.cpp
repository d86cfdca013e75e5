#include "compressor/representation/kinds/e8p.h"

#include "base/error.h"
#include "compressor/representation/code_neighbors.h"
#include "compressor/representation/format_parts.h"
#include "compressor/representation/kinds/code_search_reference.h"
#include "compressor/representation/kinds/e8p_search.h"
#include "compressor/representation/kinds/kinds.h"

namespace bitsmith {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// Keeps codes only for the way back: a float matrix per linear would cost as much as the model.
class DequantizeE8p : public torch::autograd::Function<DequantizeE8p> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& scales,
                               const torch::Tensor& codes, int64_t bits) {
    context->save_for_backward({codes});
    context->saved_data["bits"] = bits;
    context->saved_data["out"] = scales.size(0);
    return e8p_decode({.bits = static_cast<int>(bits)}, scales, codes);
  }
  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    const auto codes = context->get_saved_variables()[0];
    const E8pSpec spec{.bits = static_cast<int>(context->saved_data["bits"].toInt())};
    const auto grad = grads[0].to(torch::kFloat);
    std::vector<torch::Tensor> of_stages;
    for (int stage = 0; stage < spec.stages(); ++stage) {
      const auto values = e8p_stage_values(spec, stage, codes, context->saved_data["out"].toInt());
      of_stages.push_back((values * grad).sum(1));
    }
    return {torch::stack(of_stages, 1), torch::Tensor(), torch::Tensor()};
  }
};

}  // namespace

torch::Tensor e8p_stage_points(const E8pSpec& spec, int stage, torch::Device device) {
  const auto points = spec.points(stage);  // for ever
  return torch::from_blob(const_cast<float*>(points.data()),
                          {static_cast<int64_t>(points.size()) / kE8Size, kE8Size}, torch::kFloat)
      .to(device);
}

torch::Tensor e8p_stage_values(const E8pSpec& spec, int stage, const torch::Tensor& codes,
                               int64_t out_features) {
  return e8p_stage_points(spec, stage, codes.device())
      .index_select(0, codes.select(1, stage))
      .reshape({out_features, -1});
}

torch::Tensor e8p_decode(const E8pSpec& spec, const torch::Tensor& scales,
                         const torch::Tensor& codes) {
  const torch::NoGradGuard no_grad;
  torch::Tensor sum;
  for (int stage = 0; stage < spec.stages(); ++stage) {
    const auto values = e8p_stage_values(spec, stage, codes, scales.size(0))
                            .mul_(scales.select(1, stage).unsqueeze(1));
    sum = stage == 0 ? values : sum.add_(values);
  }
  return sum;
}

E8pTerm::E8pTerm(const E8pSpec& spec, const torch::Tensor& scales, const torch::Tensor& codes)
    : CodedTerm(spec, scales.size(0), codes.size(0) / scales.size(0) * kE8Size),
      e8p_(spec),
      scales_(scales.detach().contiguous().requires_grad_(true)),
      codes_(codes.to(torch::kInt).contiguous()) {
  BITSMITH_CHECK(scales.size(1) == spec.stages());
  BITSMITH_CHECK(codes.sizes() == at::IntArrayRef({num_code_groups(), spec.stages()}));
}

std::unique_ptr<CodedTerm> make_term(const E8pSpec& spec, const QuantizedTensor& tensor) {
  std::vector<torch::Tensor> codes = {read_codes(tensor).reshape({-1})};
  if (spec.stages() == 2) {
    codes.push_back(
        read_packed_part(tensor, "residual_codes", tensor.in_features / kE8Size, spec.code_bits(1))
            .reshape({-1}));
  }
  return std::make_unique<E8pTerm>(
      spec, read_fp16_part(tensor, "scales", {tensor.out_features, spec.stages()}),
      torch::stack(codes, 1));
}

torch::Tensor E8pTerm::dequantize() const {
  return DequantizeE8p::apply(scales_, codes_, int64_t{e8p_.bits});
}

std::vector<ContinuousParameter> E8pTerm::continuous_parameters() const {
  return {{"scales", scales_}};
}

void E8pTerm::project() {
  const torch::NoGradGuard no_grad;
  scales_.copy_(round_to_fp16(scales_));
}

torch::Tensor E8pTerm::search_codes(const torch::Tensor& target, const Objective& objective,
                                    const torch::Tensor& code_groups) const {
  const torch::NoGradGuard no_grad;
  if (!codes_.is_cpu()) {
    return search_e8p_reference(*this, e8p_, scales_, target, objective, code_groups);
  }
  E8pSearch search(e8p_, scales_, in_features_ / kE8Size);
  const auto weight = objective.separable() ? torch::Tensor() : dequantize();
  return search_code_groups(search, weight, codes_, target, objective, code_groups);
}

torch::Tensor E8pTerm::search_neighbors(const torch::Tensor& target, const torch::Tensor& codes,
                                        const torch::Tensor& code_groups) const {
  const torch::NoGradGuard no_grad;
  if (!codes_.is_cpu())
    return search_e8p_neighbors_reference(*this, e8p_, scales_, target, codes, code_groups);
  E8pSearch search(e8p_, scales_, in_features_ / kE8Size);
  return search_code_neighbors(search, target, codes, code_groups);
}

torch::Tensor E8pTerm::decode_code_groups(const torch::Tensor& code_groups,
                                          const torch::Tensor& codes) const {
  const torch::NoGradGuard no_grad;
  const auto listed = code_groups.defined()
                          ? code_groups
                          : torch::arange(num_code_groups(), codes.options().dtype(torch::kLong));
  const auto rows = listed.floor_divide(in_features_ / kE8Size);
  return e8p_decode(e8p_, scales_.index_select(0, rows), codes);
}

void E8pTerm::store(const QuantizedTensor& tensor) const {
  const auto of_stage = [&](int stage) {
    return codes_.select(1, stage).reshape({out_features_, -1});
  };
  write_codes(tensor, of_stage(0));
  if (e8p_.stages() == 2) {
    write_packed_part(tensor, "residual_codes", of_stage(1), e8p_.code_bits(1));
  }
  write_fp16_part(tensor, "scales", scales_);
}

}  // namespace bitsmith
