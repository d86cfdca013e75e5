#include "format/kinds/additive.h"

#include "base/error.h"
#include "base/half.h"
#include "format/bit_packing.h"
#include "format/group_sizes.h"
#include "format/quantized_tensor.h"
#include "format/spec_fields.h"

namespace bitsmith {
namespace {

constexpr int kMostCodebooks = 8, kMostCodeBits = 16, kMostScaleBits = 8;
constexpr int64_t kLargestVector = 64;

// The centroids are summed in float32 in the order of the codebooks, then multiplied by the scale.
void decode_row(const AdditiveSpec& spec, const QuantizedTensor& tensor, int64_t row,
                std::span<float> out) {
  const int64_t num_centroids = int64_t{1} << spec.nbits_per_codebook;
  const std::vector<uint16_t> codes = row_codes(tensor, row);
  const auto centroids = tensor.part("codebooks").bytes;
  const std::vector<float> scales = additive_scales(tensor, row);
  for (int64_t i = 0; i < tensor.in_features; ++i) {
    const int64_t group = i / spec.in_group_size, at = i % spec.in_group_size;
    float sum = 0;
    for (int64_t m = 0; m < spec.num_codebooks; ++m) {
      const int64_t centroid = m * num_centroids + codes[group * spec.num_codebooks + m];
      sum += load_fp16(centroids, centroid * spec.in_group_size + at);
    }
    out[i] = scales[scales.size() > 1 ? group : 0] * sum;
  }
}

}  // namespace

AdditiveSpec AdditiveSpec::parse(SpecReader& text) {
  AdditiveSpec spec;
  spec.num_codebooks = static_cast<int>(text.number("codebooks", 1, kMostCodebooks));
  text.expect("x");
  spec.nbits_per_codebook = static_cast<int>(text.number("bits a codebook", 1, kMostCodeBits));
  text.expect("g");
  spec.in_group_size = text.number("inputs a group", 1, kLargestVector);
  if (text.take("-s")) {
    // The spelling of format version 1 was -sS, without the inputs.
    const int64_t first = text.number("inputs a scale", 1, kLargestVector);
    const bool bits_follow = text.take("x");
    if (bits_follow && first != spec.in_group_size) {
      text.fail(concat("a scale serves a group of ", spec.in_group_size, " inputs, not ", first));
    }
    const int64_t bits = bits_follow ? text.number("bits a scale", 1, kMostScaleBits) : first;
    if (bits > kMostScaleBits) {
      text.fail(concat(bits, " bits a scale is outside 1..", kMostScaleBits));
    }
    spec.scale_bits = static_cast<int>(bits);
  }
  return spec;
}

std::string AdditiveSpec::text() const {
  std::string text = concat(kName, num_codebooks, "x", nbits_per_codebook, "g", in_group_size);
  if (scale_bits > 0) text += concat("-s", in_group_size, "x", scale_bits);
  return text;
}

AdditiveSpec AdditiveSpec::from_json(const Json& fields, const std::string& source) {
  check_spec_keys(fields,
                  {"kind", "num_codebooks", "nbits_per_codebook", "in_group_size", "scale_bits"},
                  source);
  AdditiveSpec spec;
  spec.num_codebooks =
      static_cast<int>(spec_field(fields, "num_codebooks", 1, kMostCodebooks, source));
  spec.nbits_per_codebook =
      static_cast<int>(spec_field(fields, "nbits_per_codebook", 1, kMostCodeBits, source));
  spec.in_group_size = spec_field(fields, "in_group_size", 1, kLargestVector, source);
  spec.scale_bits = static_cast<int>(spec_field(fields, "scale_bits", 0, kMostScaleBits, source));
  return spec;
}

OrderedJson AdditiveSpec::to_json() const {
  return {{"kind", kName},
          {"num_codebooks", num_codebooks},
          {"nbits_per_codebook", nbits_per_codebook},
          {"in_group_size", in_group_size},
          {"scale_bits", scale_bits}};
}

AdditiveSpec AdditiveSpec::resolved(int64_t, int64_t in_features, const std::string& where) const {
  if (in_features % in_group_size != 0) {
    throw UsageError(
        concat("group size ", in_group_size, " does not divide ", in_features, " inputs", where,
               "; sizes that do: ", fitting_group_sizes(in_features, 4, kLargestVector)));
  }
  return *this;
}

std::vector<PartLayout> AdditiveSpec::parts(int64_t out_features, int64_t in_features,
                                            const std::string& where) const {
  resolved(out_features, in_features, where);
  const int64_t groups = in_features / in_group_size;
  PartLayout codes{"codes", DType::U8, {}};
  if (nbits_per_codebook == 8 || nbits_per_codebook == 16) {
    codes.dtype = nbits_per_codebook == 8 ? DType::I8 : DType::I16;
    codes.shape = {out_features, groups, num_codebooks};
  } else {
    codes.shape = {out_features, packed_row_bytes(groups * num_codebooks, nbits_per_codebook)};
  }
  std::vector<PartLayout> parts = {
      codes,
      {"codebooks",
       DType::F16,
       {num_codebooks, int64_t{1} << nbits_per_codebook, 1, in_group_size}},
      {"scales", DType::F16, {out_features, 1, 1, 1}}};
  if (scale_bits > 0) {
    parts.push_back(
        {"group_scales", DType::U8, {out_features, packed_row_bytes(groups, scale_bits)}});
    parts.push_back({"group_scale_values", DType::F16, {int64_t{1} << scale_bits}});
  }
  return parts;
}

// Codes of 8 and 16 bits are int8 and int16 in the file, as Hugging Face has them, with
// c >= 2^(B-1) kept as c - 2^B: byte for byte the packed row.
CodeLayout AdditiveSpec::code_layout(int64_t out_features, int64_t in_features) const {
  return {1, in_features / in_group_size * num_codebooks, nbits_per_codebook, out_features};
}

void AdditiveSpec::check_quantizable(int64_t out_features, int64_t in_features) const {
  const int64_t num_centroids = int64_t{1} << nbits_per_codebook;
  const int64_t groups = out_features * in_features / in_group_size;
  if (num_centroids > groups) {
    throw UsageError(concat(num_centroids, " centroids a codebook for the ", groups, " groups of ",
                            out_features, " x ", in_features,
                            " weights; use fewer bits a codebook, or leave this matrix out"));
  }
}

void AdditiveSpec::decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t count,
                               std::span<float> out) const {
  for (int64_t i = 0; i < count; ++i) {
    decode_row(*this, tensor, first + i, row_of(out, i, tensor.in_features));
  }
}

std::vector<uint16_t> additive_scale_codes(const QuantizedTensor& tensor, int64_t row) {
  const auto& spec = tensor.term<AdditiveSpec>();
  std::vector<uint16_t> codes(static_cast<size_t>(tensor.in_features / spec.in_group_size));
  unpack_row(part_row(tensor, "group_scales", row), spec.scale_bits, codes);
  return codes;
}

std::vector<float> additive_scales(const QuantizedTensor& tensor, int64_t row) {
  const float own = load_fp16(part_row(tensor, "scales", row), 0);
  if (tensor.term<AdditiveSpec>().scale_bits == 0) return {own};
  const auto values = tensor.part("group_scale_values").bytes;
  std::vector<float> scales;
  for (const uint16_t code : additive_scale_codes(tensor, row)) {
    scales.push_back(own * load_fp16(values, code));
  }
  return scales;
}

}  // namespace bitsmith
