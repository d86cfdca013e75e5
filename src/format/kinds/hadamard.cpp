#include "format/kinds/hadamard.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "format/bit_packing.h"
#include "format/kinds/hadamard_matrix.h"
#include "format/quantized_tensor.h"
#include "format/spec_fields.h"

namespace bitsmith {
namespace {

constexpr int64_t kLargestBlock = int64_t{1} << 16;
constexpr int64_t kLargestByRule = 1024;

constexpr const char* kSizes = "a power of two, or one times 12, 20, 28 or 36";

int64_t largest_block(int64_t n) { return largest_hadamard_size(n, kLargestByRule); }

int64_t resolved_block(int64_t block, int64_t n, const char* side, const std::string& where) {
  if (block == HadamardSpec::kNone) return block;
  const int64_t largest = largest_block(n);
  if (block == HadamardSpec::kByRule && largest >= 2) return largest;
  if (is_hadamard_size(block) && n % block == 0) return block;
  throw UsageError(concat("the ", n, " ", side, where, " cannot be rotated in blocks",
                          block > 0 ? concat(" of ", block) : "",
                          largest >= 2 ? concat("; the largest that divides them is ",
                                                largest_hadamard_size(n, kLargestBlock))
                                       : ": their number is odd"));
}

int64_t shortened_block(int64_t block, int64_t n) {
  return block > 0 && block == largest_block(n) ? HadamardSpec::kByRule : block;
}

std::string side_text(const char* side, int64_t block) {
  if (block == HadamardSpec::kNone) return "";
  return block == HadamardSpec::kByRule ? side : concat(side, block);
}

// "N" or nothing.
int64_t parse_block(SpecReader& text) {
  if (!text.at_digit()) return HadamardSpec::kByRule;
  const int64_t block = text.number("numbers in a block", 2, kLargestBlock);
  if (!is_hadamard_size(block)) text.fail(concat("a block of ", block, " is not ", kSizes));
  return block;
}

int64_t block_field(const Json& fields, const char* key, const std::string& source) {
  const int64_t block = spec_field(fields, key, 0, kLargestBlock, source);
  if (block == HadamardSpec::kNone || is_hadamard_size(block)) return block;
  throw Error(concat(source, ": ", key, " ", block, " is not ", kSizes));
}

std::vector<float> read_signs(const QuantizedTensor& tensor, const std::string& part,
                              int64_t count) {
  const auto bytes = tensor.part(part).bytes;
  std::vector<float> signs;
  std::vector<uint16_t> bits(static_cast<size_t>(count));
  if (tensor.spec.transform->real_signs) {
    BITSMITH_CHECK(bytes.size() == 2 * bits.size());
    std::memcpy(bits.data(), bytes.data(), bytes.size());
    for (const uint16_t half : bits) signs.push_back(fp16_to_float(half));
    return signs;
  }
  unpack_row(bytes, 1, bits);
  for (const uint16_t bit : bits) signs.push_back(bit ? -1.0f : 1.0f);
  return signs;
}

}  // namespace

HadamardSpec HadamardSpec::parse(SpecReader& text) {
  HadamardSpec spec{.in_block = kNone, .out_block = kNone, .real_signs = text.take("-real")};
  if (text.take("-in")) spec.in_block = parse_block(text);
  if (text.take("-out")) spec.out_block = parse_block(text);
  if (!spec.rotates()) spec.in_block = spec.out_block = kByRule;
  text.expect(":");
  return spec;
}

std::string HadamardSpec::text() const {
  const std::string name = concat(kName, real_signs ? "-real" : "");
  if (in_block == kByRule && out_block == kByRule) return name + ":";
  return concat(name, side_text("-in", in_block), side_text("-out", out_block), ":");
}

OrderedJson HadamardSpec::to_json() const {
  OrderedJson fields = {{"kind", kName}, {"in_block", in_block}, {"out_block", out_block}};
  if (real_signs) fields["real_signs"] = true;
  return fields;
}

HadamardSpec HadamardSpec::from_json(const Json& fields, const std::string& source) {
  check_spec_keys(fields, {"kind", "in_block", "out_block", "real_signs"}, source);
  const auto kind = json_get<std::string>(fields, "kind", source);
  if (kind != kName) {
    throw Error(concat(source, ": this Bitsmith knows no transform '", excerpt(kind), "'"));
  }
  const HadamardSpec spec{
      block_field(fields, "in_block", source), block_field(fields, "out_block", source),
      fields.contains("real_signs") && json_get<bool>(fields, "real_signs", source)};
  if (!spec.rotates()) throw Error(source + ": the transform rotates no side");
  return spec;
}

HadamardSpec HadamardSpec::resolved(int64_t out_features, int64_t in_features,
                                    const std::string& where) const {
  return {resolved_block(in_block, in_features, "inputs", where),
          resolved_block(out_block, out_features, "outputs", where), real_signs};
}

HadamardSpec HadamardSpec::shortened(int64_t out_features, int64_t in_features) const {
  return {shortened_block(in_block, in_features), shortened_block(out_block, out_features),
          real_signs};
}

std::vector<PartLayout> HadamardSpec::parts(int64_t out_features, int64_t in_features,
                                            const std::string& where) const {
  const HadamardSpec exact = resolved(out_features, in_features, where);
  std::vector<PartLayout> all;
  const auto add = [&](const char* name, int64_t count) {
    if (real_signs)
      all.push_back({name, DType::F16, {count}});
    else
      all.push_back({name, DType::U8, {packed_row_bytes(count, 1)}});
  };
  if (exact.in_block > 0) add("input_signs", in_features);
  if (exact.out_block > 0) add("output_signs", out_features);
  return all;
}

std::vector<float> input_signs(const QuantizedTensor& tensor) {
  const auto& spec = tensor.spec.transform;
  if (!spec || spec->in_block == HadamardSpec::kNone) return {};
  return read_signs(tensor, "input_signs", tensor.in_features);
}

std::vector<float> output_signs(const QuantizedTensor& tensor) {
  const auto& spec = tensor.spec.transform;
  if (!spec || spec->out_block == HadamardSpec::kNone) return {};
  return read_signs(tensor, "output_signs", tensor.out_features);
}

void write_signs(const QuantizedTensor& tensor, const std::string& part,
                 std::span<const float> signs) {
  BITSMITH_CHECK(!tensor.spec.transform->real_signs);
  std::vector<uint16_t> bits;
  for (const float sign : signs) bits.push_back(sign < 0);
  pack_row(bits, 1, mutable_part(tensor, part));
}

void decode_rotated_rows(const QuantizedTensor& tensor, const HadamardSpec& spec, int64_t first,
                         int64_t count, std::span<float> out,
                         const std::function<void(int64_t, int64_t, std::span<float>)>& decode) {
  const int64_t in = tensor.in_features;
  if (spec.out_block == HadamardSpec::kNone) {
    decode(first, count, out);
  } else {
    const int64_t block = spec.out_block;
    const std::vector<float> signs = output_signs(tensor);
    std::vector<float> rows(static_cast<size_t>(block * in));
    for (int64_t begin = first / block * block; begin < first + count; begin += block) {
      decode(begin, block, rows);
      hadamard_down_columns(rows.data(), block, in);
      for (int64_t r = std::max(first, begin); r < std::min(first + count, begin + block); ++r) {
        const float sign = signs[static_cast<size_t>(r)];
        const auto from = row_of(rows, r - begin, in), to = row_of(out, r - first, in);
        for (int64_t i = 0; i < in; ++i) to[i] = from[i] * sign;
      }
    }
  }
  if (spec.in_block == HadamardSpec::kNone) return;
  const std::vector<float> signs = input_signs(tensor);
  hadamard_along_rows(out.data(), count, in, spec.in_block);
  for (int64_t r = 0; r < count; ++r) {
    const auto row = row_of(out, r, in);
    for (int64_t i = 0; i < in; ++i) row[i] *= signs[static_cast<size_t>(i)];
  }
}

}  // namespace bitsmith
