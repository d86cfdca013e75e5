#include "format/kinds/uniform.h"

#include <algorithm>

#include "base/error.h"
#include "base/half.h"
#include "format/bit_packing.h"
#include "format/group_sizes.h"
#include "format/quantized_tensor.h"
#include "format/spec_fields.h"

namespace bitsmith {
namespace {

constexpr int kMostBits = 8;
constexpr int64_t kLargestGroup = int64_t{1} << 30;

void decode_row(const UniformSpec& spec, const QuantizedTensor& tensor, int64_t row,
                std::span<float> out) {
  const int64_t size = spec.group_size > 0 ? spec.group_size : tensor.in_features;
  const std::vector<uint16_t> codes = row_codes(tensor, row);
  const auto scales = part_row(tensor, "scales", row);
  std::vector<uint16_t> zeros(static_cast<size_t>(tensor.in_features / size),
                              static_cast<uint16_t>(1u << (spec.nbits - 1)));
  if (spec.zero_points) unpack_row(part_row(tensor, "zeros", row), spec.nbits, zeros);
  for (int64_t i = 0; i < tensor.in_features; ++i) {
    const int64_t group = i / size;
    const float scale = load_fp16(scales, group);
    out[i] = scale * static_cast<float>(int{codes[i]} - int{zeros[group]});
  }
}

}  // namespace

UniformSpec UniformSpec::for_rows(int nbits, int64_t in_features) {
  int64_t group = nbits == 8 ? 64 : 32;
  while (in_features % group != 0) group /= 2;
  return {.nbits = nbits, .group_size = group};
}

UniformSpec UniformSpec::parse(SpecReader& text) {
  UniformSpec spec;
  spec.nbits = static_cast<int>(text.number("bits", 1, kMostBits));
  text.expect("g");
  spec.group_size = text.number("inputs a group", 0, kLargestGroup);
  spec.zero_points = text.take("-z");
  return spec;
}

std::string UniformSpec::text() const {
  return concat(kName, nbits, "g", group_size, zero_points ? "-z" : "");
}

UniformSpec UniformSpec::from_json(const Json& fields, const std::string& source) {
  check_spec_keys(fields, {"kind", "nbits", "group_size", "zero_points"}, source);
  UniformSpec spec;
  spec.nbits = static_cast<int>(spec_field(fields, "nbits", 1, kMostBits, source));
  spec.group_size = spec_field(fields, "group_size", 1, kLargestGroup, source);
  spec.zero_points = json_get<bool>(fields, "zero_points", source);
  return spec;
}

OrderedJson UniformSpec::to_json() const {
  return {
      {"kind", kName}, {"nbits", nbits}, {"group_size", group_size}, {"zero_points", zero_points}};
}

UniformSpec UniformSpec::resolved(int64_t, int64_t in_features, const std::string& where) const {
  UniformSpec spec = *this;
  if (group_size == 0) {
    spec.group_size = in_features;
  } else if (in_features % group_size != 0) {
    const std::string sizes =
        fitting_group_sizes(in_features, 8, std::min<int64_t>(in_features, 1024));
    throw UsageError(concat("group size ", group_size, " does not divide ", in_features, " inputs",
                            where, "; sizes that do: ", sizes, sizes.empty() ? "" : ", ",
                            "0 (the whole row)"));
  }
  return spec;
}

std::vector<PartLayout> UniformSpec::parts(int64_t out_features, int64_t in_features,
                                           const std::string& where) const {
  const int64_t groups = in_features / resolved(out_features, in_features, where).group_size;
  std::vector<PartLayout> parts = {
      {"codes", DType::U8, {out_features, packed_row_bytes(in_features, nbits)}},
      {"scales", DType::F16, {out_features, groups}}};
  if (zero_points) {
    parts.push_back({"zeros", DType::U8, {out_features, packed_row_bytes(groups, nbits)}});
  }
  return parts;
}

void UniformSpec::decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t count,
                              std::span<float> out) const {
  for (int64_t i = 0; i < count; ++i) {
    decode_row(*this, tensor, first + i, row_of(out, i, tensor.in_features));
  }
}

}  // namespace bitsmith
