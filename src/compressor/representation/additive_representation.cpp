#include "compressor/representation/additive_representation.h"

#include "base/error.h"
#include "compressor/representation/additive_dequantize.h"
#include "compressor/representation/additive_search.h"
#include "compressor/representation/code_search_reference.h"
#include "compressor/representation/format_parts.h"

namespace bitsmith {

AdditiveRepresentation::AdditiveRepresentation(const AdditiveSpec& spec,
                                               const torch::Tensor& codebooks,
                                               const torch::Tensor& scales,
                                               const torch::Tensor& codes)
    : Representation(spec, scales.size(0), codes.size(0) / scales.size(0) * spec.in_group_size),
      additive_(spec),
      codebooks_(codebooks.detach().contiguous().requires_grad_(true)),
      scales_(scales.detach().contiguous().requires_grad_(true)),
      codes_(codes.to(torch::kInt).contiguous()) {
  BITSMITH_CHECK(codebooks.sizes() ==
                 at::IntArrayRef({spec.num_codebooks, int64_t{1} << spec.nbits_per_codebook,
                                  spec.in_group_size}));
  BITSMITH_CHECK(codes.size(1) == spec.num_codebooks && codes.size(0) == num_groups());
}

std::unique_ptr<AdditiveRepresentation> AdditiveRepresentation::from_format(
    const QuantizedTensor& tensor) {
  const auto& spec = std::get<AdditiveSpec>(tensor.spec);
  const int64_t entries = int64_t{1} << spec.nbits_per_codebook;
  return std::make_unique<AdditiveRepresentation>(
      spec, read_fp16_part(tensor, "codebooks", {spec.num_codebooks, entries, spec.in_group_size}),
      read_fp16_part(tensor, "scales", {tensor.out_features}),
      read_codes(tensor).reshape({-1, spec.num_codebooks}));
}

torch::Tensor AdditiveRepresentation::dequantize() const {
  return additive_dequantize(codebooks_, scales_, codes_);
}

std::vector<ContinuousParameter> AdditiveRepresentation::continuous_parameters() const {
  return {{"codebooks", codebooks_, true}, {"scales", scales_, false}};
}

void AdditiveRepresentation::project() {
  const torch::NoGradGuard no_grad;
  codebooks_.copy_(round_to_fp16(codebooks_));
  scales_.copy_(round_to_fp16(scales_));
}

torch::Tensor AdditiveRepresentation::search_codes(const torch::Tensor& target,
                                                   const Metric& metric,
                                                   const torch::Tensor& groups) const {
  const torch::NoGradGuard no_grad;
  if (!codes_.is_cpu()) {
    return search_additive_reference(*this, codebooks_, scales_, target, metric, groups);
  }
  AdditiveSearch search(codebooks_, scales_, in_features_ / additive_.in_group_size);
  const auto weight = metric.hessian.defined() ? dequantize() : torch::Tensor();
  return search_code_groups(search, weight, codes_, target, metric, groups);
}

torch::Tensor AdditiveRepresentation::decode_groups(const torch::Tensor& groups,
                                                    const torch::Tensor& codes) const {
  const torch::NoGradGuard no_grad;
  const int64_t per_row = in_features_ / additive_.in_group_size;
  const auto rows =
      groups.defined()
          ? groups.floor_divide(per_row)
          : torch::arange(num_groups(), codes_.options().dtype(torch::kLong)).floor_divide(per_row);
  return additive_dequantize_reference(codebooks_, scales_.index_select(0, rows), codes);
}

QuantizedTensor AdditiveRepresentation::to_format() const {
  auto tensor = allocate_quantized(spec_, out_features_, in_features_);
  write_codes(tensor, codes_);
  write_fp16_part(tensor, "codebooks", codebooks_);
  write_fp16_part(tensor, "scales", scales_);
  return tensor;
}

}  // namespace bitsmith
