#include "compressor/representation/kinds/additive.h"

#include "base/error.h"
#include "compressor/representation/code_neighbors.h"
#include "compressor/representation/format_parts.h"
#include "compressor/representation/kinds/additive_dequantize.h"
#include "compressor/representation/kinds/additive_search.h"
#include "compressor/representation/kinds/code_search_reference.h"
#include "compressor/representation/kinds/kinds.h"

namespace bitsmith {
AdditiveTerm::AdditiveTerm(const AdditiveSpec& spec, const torch::Tensor& codebooks,
                           const torch::Tensor& scales, const torch::Tensor& codes,
                           const GroupScales& group_scales)
    : CodedTerm(spec, scales.size(0), codes.size(0) / scales.size(0) * spec.in_group_size),
      additive_(spec),
      codebooks_(codebooks.detach().contiguous().requires_grad_(true)),
      scales_(scales.detach().contiguous().requires_grad_(true)),
      codes_(codes.to(code_dtype(spec.nbits_per_codebook)).contiguous()) {
  BITSMITH_CHECK(group_scales.defined() == (spec.scale_bits > 0));
  if (group_scales.defined()) {
    group_scales_ = {group_scales.values.detach().contiguous().requires_grad_(true),
                     group_scales.codes.to(torch::kInt).contiguous()};
  }
  BITSMITH_CHECK(codebooks.sizes() ==
                 at::IntArrayRef({spec.num_codebooks, int64_t{1} << spec.nbits_per_codebook,
                                  spec.in_group_size}));
  BITSMITH_CHECK(codes.size(1) == spec.num_codebooks && codes.size(0) == num_code_groups());
}

std::unique_ptr<CodedTerm> make_term(const AdditiveSpec& spec, const QuantizedTensor& tensor) {
  const int64_t num_centroids = int64_t{1} << spec.nbits_per_codebook;
  GroupScales group_scales;
  if (spec.scale_bits > 0) {
    group_scales = {read_fp16_part(tensor, "group_scale_values", {int64_t{1} << spec.scale_bits}),
                    read_packed_part(tensor, "group_scales",
                                     tensor.in_features / spec.in_group_size, spec.scale_bits)};
  }
  return std::make_unique<AdditiveTerm>(
      spec,
      read_fp16_part(tensor, "codebooks", {spec.num_codebooks, num_centroids, spec.in_group_size}),
      read_fp16_part(tensor, "scales", {tensor.out_features}),
      read_codes(tensor).reshape({-1, spec.num_codebooks}), group_scales);
}

torch::Tensor AdditiveTerm::dequantize() const {
  return additive_dequantize(codebooks_, combined_scales(scales_, group_scales_), codes_);
}

std::vector<ContinuousParameter> AdditiveTerm::continuous_parameters() const {
  std::vector<ContinuousParameter> all = {{"codebooks", codebooks_}, {"scales", scales_}};
  if (group_scales_.defined()) all.push_back({"group_scale_values", group_scales_.values});
  return all;
}

void AdditiveTerm::project() {
  const torch::NoGradGuard no_grad;
  codebooks_.copy_(round_to_fp16(codebooks_));
  scales_.copy_(round_to_fp16(scales_));
  if (group_scales_.defined()) group_scales_.values.copy_(round_to_fp16(group_scales_.values));
}

torch::Tensor AdditiveTerm::search_codes(const torch::Tensor& target, const Objective& objective,
                                         const torch::Tensor& code_groups) const {
  const torch::NoGradGuard no_grad;
  const auto scales = combined_scales(scales_, group_scales_);
  if (!codes_.is_cpu()) {
    return search_additive_reference(*this, codebooks_, scales, target, objective, code_groups);
  }
  AdditiveSearch search(codebooks_, scales, in_features_ / additive_.in_group_size);
  const auto weight = objective.separable() ? torch::Tensor() : dequantize();
  return search_code_groups(search, weight, codes_, target, objective, code_groups);
}

torch::Tensor AdditiveTerm::search_neighbors(const torch::Tensor& target,
                                             const torch::Tensor& codes,
                                             const torch::Tensor& code_groups) const {
  const torch::NoGradGuard no_grad;
  if (!codes_.is_cpu())
    return search_neighbors_reference(*this, codebooks_.size(1), target, codes, code_groups);
  AdditiveSearch search(codebooks_, combined_scales(scales_, group_scales_),
                        in_features_ / additive_.in_group_size);
  return search_code_neighbors(search, target, codes, code_groups);
}

torch::Tensor AdditiveTerm::decode_code_groups(const torch::Tensor& code_groups,
                                               const torch::Tensor& codes) const {
  const torch::NoGradGuard no_grad;
  const auto scales = combined_scales(scales_, group_scales_);
  const auto listed = code_groups.defined()
                          ? code_groups
                          : torch::arange(num_code_groups(), codes.options().dtype(torch::kLong));
  const auto at =
      scales.dim() == 1 ? listed.floor_divide(in_features_ / additive_.in_group_size) : listed;
  return additive_dequantize_reference(codebooks_, scales.reshape({-1}).index_select(0, at), codes);
}

void AdditiveTerm::store(const QuantizedTensor& tensor) const {
  write_codes(tensor, codes_);
  write_fp16_part(tensor, "codebooks", codebooks_);
  write_fp16_part(tensor, "scales", scales_);
  if (group_scales_.defined()) {
    write_fp16_part(tensor, "group_scale_values", group_scales_.values);
    write_packed_part(tensor, "group_scales", group_scales_.codes, additive_.scale_bits);
  }
}

}  // namespace bitsmith
