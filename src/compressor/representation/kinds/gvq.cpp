#include "compressor/representation/kinds/gvq.h"

#include <cstring>

#include "base/error.h"
#include "compressor/representation/code_neighbors.h"
#include "compressor/representation/format_parts.h"
#include "compressor/representation/kinds/code_search_reference.h"
#include "compressor/representation/kinds/gvq_dequantize.h"
#include "compressor/representation/kinds/gvq_search.h"
#include "compressor/representation/kinds/kinds.h"

namespace bitsmith {
namespace {

constexpr double kLargestInt8 = 127;
// An int8 codebook's scale is at least this: fp16 has too few digits below.
constexpr double kSmallestScale = 1.0 / (1 << 17);

// fp16 scales [strips, column groups] of int8 codebooks.
torch::Tensor int8_scales(const torch::Tensor& codebooks) {
  return round_to_fp16((codebooks.abs().amax({2, 3}) / kLargestInt8).clamp_min(kSmallestScale));
}

torch::Tensor int8_values(const torch::Tensor& codebooks, const torch::Tensor& scales) {
  const auto each = scales.unsqueeze(2).unsqueeze(3);
  return (codebooks / each).round().clamp(-kLargestInt8, kLargestInt8);
}

torch::Tensor read_codebooks(const QuantizedTensor& tensor, const GvqSpec& spec) {
  const TensorView& part = tensor.part("codebooks");
  if (spec.fp16_codebooks) return read_fp16_part(tensor, "codebooks", part.shape);
  auto values = torch::empty(part.shape, torch::kChar);
  std::memcpy(values.data_ptr(), part.bytes.data(), part.bytes.size());
  const auto scales =
      read_fp16_part(tensor, "codebook_scales", {part.shape[0], part.shape[1], 1, 1});
  return values.to(torch::kFloat) * scales;
}

}  // namespace

torch::Tensor gvq_centroids(const torch::Tensor& codebooks, const torch::Tensor& basis) {
  if (!basis.defined()) return codebooks;
  auto sum = codebooks.select(2, 0) * basis[0];  // [.., 1] x [K]
  for (int64_t i = 1; i < basis.size(0); ++i) sum = sum + codebooks.select(2, i) * basis[i];
  return sum.unsqueeze(3);
}

torch::Tensor gvq_block_scales(const GvqLayout& layout, const torch::Tensor& codes,
                               const torch::Tensor& grid) {
  auto scales = torch::empty(codes.sizes(), torch::kFloat);
  const int64_t blocks = codes.size(1), per_tile = blocks / layout.column_groups;
  const auto host = codes.contiguous(), host_grid = grid.contiguous();
  const auto* code = host.const_data_ptr<int32_t>();
  const auto* line = host_grid.const_data_ptr<float>();
  auto* scale = scales.mutable_data_ptr<float>();
  for (int64_t row = 0; row < codes.size(0); ++row) {
    for (int64_t b = 0; b < blocks; ++b, ++code, ++scale) {
      const float* own = line + 2 * (row / layout.tile_rows * layout.column_groups + b / per_tile);
      *scale = std::exp2(own[0] + static_cast<float>(*code) * own[1]);
    }
  }
  return scales;
}

torch::Tensor project_codebooks(const GvqSpec& spec, const torch::Tensor& codebooks) {
  if (spec.fp16_codebooks) return round_to_fp16(codebooks);
  const auto scales = int8_scales(codebooks);
  return int8_values(codebooks, scales) * scales.unsqueeze(2).unsqueeze(3);
}

GvqTerm::GvqTerm(const GvqSpec& spec, int64_t out_features, int64_t in_features,
                 const GvqTensors& tensors)
    : CodedTerm(spec, out_features, in_features),
      gvq_(spec),
      layout_(gvq_layout(spec, out_features, in_features)),
      tensors_(tensors) {
  const auto leaf = [](const torch::Tensor& values) {
    return values.detach().contiguous().requires_grad_(true);
  };
  tensors_.codebooks = leaf(tensors.codebooks);
  if (spec.rank > 0) tensors_.basis = leaf(tensors.basis);
  tensors_.codes = tensors.codes.to(code_dtype(spec.index_bits)).contiguous();
  BITSMITH_CHECK(tensors_.codes.sizes() == at::IntArrayRef({num_code_groups(), 1}));
  BITSMITH_CHECK((spec.scale_block > 0) == tensors.block_scale_codes.defined());
  if (spec.scale_block > 0) {
    block_scales_ = gvq_block_scales(layout_, tensors.block_scale_codes, tensors.block_scale_grid);
  }
}

std::unique_ptr<CodedTerm> make_term(const GvqSpec& spec, const QuantizedTensor& tensor) {
  GvqTensors tensors;
  tensors.codebooks = read_codebooks(tensor, spec);
  if (spec.rank > 0) {
    tensors.basis = read_fp16_part(tensor, "codebook_basis", {spec.rank, spec.centroids()});
  }
  tensors.codes = read_codes(tensor).reshape({-1, 1});
  if (spec.scale_block > 0) {
    tensors.block_scale_codes = read_packed_part(
        tensor, "block_scales", tensor.in_features / spec.scale_block, GvqSpec::kBlockScaleBits);
    tensors.block_scale_grid =
        read_fp16_part(tensor, "block_scale_grid", tensor.part("block_scale_grid").shape);
  }
  return std::make_unique<GvqTerm>(spec, tensor.out_features, tensor.in_features, tensors);
}

torch::Tensor GvqTerm::dequantize() const {
  return gvq_dequantize(layout_, centroids(), tensors_.codes, block_scales_);
}

std::vector<ContinuousParameter> GvqTerm::continuous_parameters() const {
  std::vector<ContinuousParameter> parameters = {{"codebooks", tensors_.codebooks}};
  if (tensors_.basis.defined()) parameters.push_back({"codebook_basis", tensors_.basis});
  return parameters;
}

void GvqTerm::project() {
  const torch::NoGradGuard no_grad;
  tensors_.codebooks.copy_(project_codebooks(gvq_, tensors_.codebooks));
  if (tensors_.basis.defined()) tensors_.basis.copy_(round_to_fp16(tensors_.basis));
}

torch::Tensor GvqTerm::search_codes(const torch::Tensor& target, const Objective& objective,
                                    const torch::Tensor& code_groups) const {
  const torch::NoGradGuard no_grad;
  const auto tiles = centroids();
  if (!tensors_.codes.is_cpu()) {
    return search_gvq_reference(*this, layout_, tiles, block_scales_, target, objective,
                                code_groups);
  }
  GvqSearch search(layout_, tiles, block_scales_);
  const auto weight = objective.separable() ? torch::Tensor() : dequantize();
  return search_code_groups(search, weight, tensors_.codes, target, objective, code_groups);
}

torch::Tensor GvqTerm::search_neighbors(const torch::Tensor& target, const torch::Tensor& codes,
                                        const torch::Tensor& code_groups) const {
  const torch::NoGradGuard no_grad;
  const auto tiles = centroids();
  if (!tensors_.codes.is_cpu())
    return search_neighbors_reference(*this, tiles.size(2), target, codes, code_groups);
  GvqSearch search(layout_, tiles, block_scales_);
  return search_code_neighbors(search, target, codes, code_groups);
}

torch::Tensor GvqTerm::decode_code_groups(const torch::Tensor& code_groups,
                                          const torch::Tensor& codes) const {
  const torch::NoGradGuard no_grad;
  const auto listed = code_groups.defined()
                          ? code_groups
                          : torch::arange(num_code_groups(), codes.options().dtype(torch::kLong));
  const auto tiles = centroids();
  const auto at = tile_of_code_groups(layout_, listed) * tiles.size(2) + codes.select(1, 0);
  const auto values = tiles.reshape({-1, layout_.vector_size}).index_select(0, at);
  if (!block_scales_.defined()) return values;
  const int64_t code_groups_per_scale = gvq_.scale_block / layout_.vector_size;
  const auto scales =
      block_scales_.reshape(-1).index_select(0, listed.floor_divide(code_groups_per_scale));
  return values * scales.unsqueeze(1);
}

void GvqTerm::store(const QuantizedTensor& tensor) const {
  const torch::NoGradGuard no_grad;
  write_codes(tensor, tensors_.codes);
  if (gvq_.fp16_codebooks) {
    write_fp16_part(tensor, "codebooks", tensors_.codebooks);
  } else {
    const auto scales = int8_scales(tensors_.codebooks);
    const auto values =
        int8_values(tensors_.codebooks, scales).to(torch::kCPU, torch::kChar).contiguous();
    const auto bytes = mutable_part(tensor, "codebooks");
    BITSMITH_CHECK(static_cast<size_t>(values.nbytes()) == bytes.size());
    std::memcpy(bytes.data(), values.const_data_ptr(), bytes.size());
    write_fp16_part(tensor, "codebook_scales", scales);
  }
  if (tensors_.basis.defined()) write_fp16_part(tensor, "codebook_basis", tensors_.basis);
  if (gvq_.scale_block > 0) {
    write_packed_part(tensor, "block_scales", tensors_.block_scale_codes, GvqSpec::kBlockScaleBits);
    write_fp16_part(tensor, "block_scale_grid", tensors_.block_scale_grid);
  }
}

}  // namespace bitsmith
