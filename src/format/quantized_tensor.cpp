#include "format/quantized_tensor.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "format/bit_packing.h"

namespace bitsmith {
namespace {

std::span<std::byte> writable(std::span<const std::byte> bytes) {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

std::span<const std::byte> packed_codes(const QuantizedTensor& tensor, const CodeLayout& layout,
                                        int64_t row, int64_t column_group) {
  BITSMITH_CHECK(row >= 0 && row < tensor.out_features);
  const int64_t first = row / layout.tile_rows * layout.tile_rows;
  const int64_t height = std::min(layout.tile_rows, tensor.out_features - first);
  const int64_t at = first * layout.column_groups + column_group * height + (row - first);
  const auto bytes = static_cast<size_t>(packed_row_bytes(layout.count, layout.nbits));
  return tensor.part("codes").bytes.subspan(static_cast<size_t>(at) * bytes, bytes);
}

CodeLayout code_layout(const QuantizedTensor& tensor) {
  return std::visit(
      [&](const auto& s) { return s.code_layout(tensor.out_features, tensor.in_features); },
      tensor.spec.terms.front());
}

uint16_t fp16_bits(std::span<const std::byte> bytes, int64_t index) {
  uint16_t value;
  std::memcpy(&value, bytes.data() + 2 * index, sizeof(value));
  return value;
}

bool all_finite_fp16(std::span<const std::byte> bytes) {
  const int64_t count = static_cast<int64_t>(bytes.size() / 2);
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) finite &= (fp16_bits(bytes, i) & 0x7c00u) != 0x7c00u;
  return finite;
}

}  // namespace

const TensorView& QuantizedTensor::part(const std::string& name) const {
  const auto found =
      std::find_if(parts.begin(), parts.end(), [&](const auto& part) { return part.name == name; });
  BITSMITH_CHECK(found != parts.end());
  return *found;
}

QuantizedTensor allocate_quantized(const RepresentationSpec& spec, int64_t out_features,
                                   int64_t in_features) {
  constexpr size_t kAlignment = 64;
  QuantizedTensor tensor;
  tensor.spec = resolved(spec, out_features, in_features);
  tensor.out_features = out_features;
  tensor.in_features = in_features;
  std::vector<size_t> offsets;
  size_t total = 0;
  const std::vector<PartLayout> layout = part_layout(tensor.spec, out_features, in_features);
  for (const PartLayout& part : layout) {
    offsets.push_back(total);
    const auto bytes = static_cast<size_t>(byte_size(part.dtype, part.shape));
    total += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }
  const auto storage = std::make_shared<std::vector<std::byte>>(total);
  for (size_t i = 0; i < layout.size(); ++i) {
    const auto bytes = static_cast<size_t>(byte_size(layout[i].dtype, layout[i].shape));
    tensor.parts.push_back({layout[i].name, layout[i].dtype, layout[i].shape,
                            std::span(*storage).subspan(offsets[i], bytes)});
  }
  tensor.storage = storage;
  return tensor;
}

std::span<std::byte> mutable_part(const QuantizedTensor& tensor, const std::string& name) {
  return writable(tensor.part(name).bytes);
}

std::span<const std::byte> part_row(const QuantizedTensor& tensor, const std::string& name,
                                    int64_t row) {
  BITSMITH_CHECK(row >= 0 && row < tensor.out_features);
  const auto all = tensor.part(name).bytes;
  const size_t bytes = all.size() / static_cast<size_t>(tensor.out_features);
  return all.subspan(static_cast<size_t>(row) * bytes, bytes);
}

float load_fp16(std::span<const std::byte> bytes, int64_t index) {
  return fp16_to_float(fp16_bits(bytes, index));
}

std::vector<uint16_t> row_codes(const QuantizedTensor& tensor, int64_t row) {
  const CodeLayout layout = code_layout(tensor);
  const auto count = static_cast<size_t>(layout.count);
  std::vector<uint16_t> codes(count * static_cast<size_t>(layout.column_groups));
  for (int64_t g = 0; g < layout.column_groups; ++g) {
    unpack_row(packed_codes(tensor, layout, row, g), layout.nbits,
               std::span(codes).subspan(static_cast<size_t>(g) * count, count));
  }
  return codes;
}

void set_row_codes(const QuantizedTensor& tensor, int64_t row, std::span<const uint16_t> codes) {
  const CodeLayout layout = code_layout(tensor);
  BITSMITH_CHECK(static_cast<int64_t>(codes.size()) == layout.column_groups * layout.count);
  const auto count = static_cast<size_t>(layout.count);
  for (int64_t g = 0; g < layout.column_groups; ++g) {
    pack_row(codes.subspan(static_cast<size_t>(g) * count, count), layout.nbits,
             writable(packed_codes(tensor, layout, row, g)));
  }
}

namespace {

// Rows of the sum of the terms.
void decode_sum(const QuantizedTensor& tensor, int64_t first, int64_t count, std::span<float> out) {
  const auto decode = [&](const TermSpec& term, std::span<float> rows) {
    std::visit([&](const auto& s) { s.decode_rows(tensor, first, count, rows); }, term);
  };
  decode(tensor.spec.terms.front(), out);
  std::vector<float> values(tensor.spec.terms.size() > 1 ? out.size() : 0);
  for (size_t t = 1; t < tensor.spec.terms.size(); ++t) {
    decode(tensor.spec.terms[t], values);
    for (size_t i = 0; i < out.size(); ++i) out[i] += values[i];
  }
}

}  // namespace

void decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t count,
                 std::span<float> out) {
  BITSMITH_CHECK(static_cast<int64_t>(out.size()) == count * tensor.in_features);
  if (!tensor.spec.transform) {
    decode_sum(tensor, first, count, out);
    return;
  }
  decode_rotated_rows(tensor, *tensor.spec.transform, first, count, out,
                      [&](int64_t begin, int64_t rows, std::span<float> values) {
                        decode_sum(tensor, begin, rows, values);
                      });
}

void verify(const QuantizedTensor& tensor, const std::string& source) {
  const auto layout = part_layout(tensor.spec, tensor.out_features, tensor.in_features, source);
  const std::string spec = to_string(tensor.spec);
  if (layout.size() != tensor.parts.size()) {
    throw Error(
        concat(source, ": ", spec, " has ", layout.size(), " parts, found ", tensor.parts.size()));
  }
  for (size_t i = 0; i < layout.size(); ++i) {
    const PartLayout& expected = layout[i];
    const TensorView& found = tensor.parts[i];
    if (found.name != expected.name || found.dtype != expected.dtype ||
        found.shape != expected.shape ||
        static_cast<int64_t>(found.bytes.size()) != byte_size(expected.dtype, expected.shape)) {
      throw Error(concat(source, ".", expected.name, ": ", spec, " needs ",
                         dtype_name(expected.dtype), " ", shape_string(expected.shape), ", found ",
                         dtype_name(found.dtype), " ", shape_string(found.shape), " in ",
                         found.bytes.size(), " bytes"));
    }
    if (expected.dtype == DType::F16 && !all_finite_fp16(found.bytes)) {
      throw Error(concat(source, ".", expected.name, " holds infinite or undefined values"));
    }
  }
  for (const TermSpec& term : tensor.spec.terms) {
    std::visit([&](const auto& s) { s.check_values(tensor, source); }, term);
  }
}

std::vector<TensorView> named_parts(const QuantizedTensor& tensor, const std::string& module) {
  std::vector<TensorView> parts = tensor.parts;
  for (TensorView& part : parts) part.name = module + "." + part.name;
  return parts;
}

}  // namespace bitsmith
