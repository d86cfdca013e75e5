#include "format/kinds/e8p.h"

#include "base/error.h"
#include "format/bit_packing.h"
#include "format/quantized_tensor.h"
#include "format/spec_fields.h"

namespace bitsmith {
namespace {

void decode_row(const E8pSpec& spec, const QuantizedTensor& tensor, int64_t row,
                std::span<float> out) {
  const auto scales = part_row(tensor, "scales", row);
  for (int stage = 0; stage < spec.stages(); ++stage) {
    const std::vector<uint16_t> codes = e8p_row_codes(tensor, row, stage);
    const std::span<const float> points = spec.points(stage);
    const float scale = load_fp16(scales, stage);
    for (int64_t i = 0; i < tensor.in_features; ++i) {
      const float value = scale * points[codes[i / kE8Size] * kE8Size + i % kE8Size];
      out[i] = stage == 0 ? value : out[i] + value;
    }
  }
}

}  // namespace

E8pSpec E8pSpec::parse(SpecReader& text) {
  E8pSpec spec;
  if (text.at_digit()) spec.bits = static_cast<int>(text.number("bits a weight", 3, 4));
  return spec;
}

std::string E8pSpec::text() const { return bits == 2 ? kName : concat(kName, bits); }

E8pSpec E8pSpec::from_json(const Json& fields, const std::string& source) {
  check_spec_keys(fields, {"kind", "bits"}, source);
  return {.bits = static_cast<int>(spec_field(fields, "bits", 2, 4, source))};
}

OrderedJson E8pSpec::to_json() const { return {{"kind", kName}, {"bits", bits}}; }

E8pSpec E8pSpec::resolved(int64_t, int64_t in_features, const std::string& where) const {
  if (in_features % kE8Size != 0) {
    throw UsageError(concat(in_features, " inputs", where, " are no groups of ", kE8Size,
                            ", which ", text(), " has one code for"));
  }
  return *this;
}

std::vector<PartLayout> E8pSpec::parts(int64_t out_features, int64_t in_features,
                                       const std::string& where) const {
  resolved(out_features, in_features, where);
  const int64_t groups = in_features / kE8Size;
  const auto codes = [&](const char* name, int stage) {
    return PartLayout{name, DType::U8, {out_features, packed_row_bytes(groups, code_bits(stage))}};
  };
  std::vector<PartLayout> parts = {codes("codes", 0)};
  if (stages() == 2) parts.push_back(codes("residual_codes", 1));
  parts.push_back({"scales", DType::F16, {out_features, stages()}});
  return parts;
}

CodeLayout E8pSpec::code_layout(int64_t out_features, int64_t in_features) const {
  return {1, in_features / kE8Size, code_bits(0), out_features};
}

void E8pSpec::decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t count,
                          std::span<float> out) const {
  for (int64_t i = 0; i < count; ++i) {
    decode_row(*this, tensor, first + i, row_of(out, i, tensor.in_features));
  }
}

std::vector<uint16_t> e8p_row_codes(const QuantizedTensor& tensor, int64_t row, int stage) {
  if (stage == 0) return row_codes(tensor, row);
  std::vector<uint16_t> codes(static_cast<size_t>(tensor.in_features / kE8Size));
  unpack_row(part_row(tensor, "residual_codes", row), tensor.term<E8pSpec>().code_bits(stage),
             codes);
  return codes;
}

}  // namespace bitsmith
