#include "format/quantized_tensor.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "format/bit_packing.h"

namespace bitsmith {
namespace {

// Parts inside a file may begin at any byte, so 16-bit values are loaded by copy. The files are
// little-endian, as every machine that Bitsmith runs on.
uint16_t load16(std::span<const std::byte> bytes, int64_t index) {
  uint16_t value;
  std::memcpy(&value, bytes.data() + 2 * index, sizeof(value));
  return value;
}

std::span<std::byte> writable(std::span<const std::byte> bytes) {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

// Row `row` of a part whose first dimension is the matrix's rows.
std::span<const std::byte> part_row(const QuantizedTensor& tensor, const TensorView& part,
                                    int64_t row) {
  BITSMITH_CHECK(row >= 0 && row < tensor.out_features);
  const size_t bytes = part.bytes.size() / static_cast<size_t>(tensor.out_features);
  return part.bytes.subspan(static_cast<size_t>(row) * bytes, bytes);
}

// A row's codes lie in `pieces` packed rows of `count` codes: one piece, but for gvq one in each of
// the tiles that the row passes through. Additive codes of 8 and 16 bits are int8 and int16 in the
// file, as Hugging Face has them, with c >= 2^(B-1) kept as c - 2^B: byte for byte the packed row.
struct CodeLayout {
  int64_t pieces, count;
  int nbits;
};

CodeLayout code_layout(const QuantizedTensor& tensor) {
  if (const auto* uniform = std::get_if<UniformSpec>(&tensor.spec)) {
    return {1, tensor.in_features, uniform->nbits};
  }
  if (const auto* grouped = std::get_if<GroupedSpec>(&tensor.spec)) {
    const GroupedLayout layout = grouped_layout(*grouped, tensor.out_features, tensor.in_features);
    return {layout.column_groups, layout.tile_row_codes(), grouped->index_bits};
  }
  const auto& additive = std::get<AdditiveSpec>(tensor.spec);
  return {1, tensor.in_features / additive.in_group_size * additive.num_codebooks,
          additive.nbits_per_codebook};
}

std::span<const std::byte> code_piece(const QuantizedTensor& tensor, int64_t row, int64_t piece) {
  const TensorView& codes = tensor.part("codes");
  const auto* grouped = std::get_if<GroupedSpec>(&tensor.spec);
  if (!grouped) return part_row(tensor, codes, row);
  const GroupedLayout layout = grouped_layout(*grouped, tensor.out_features, tensor.in_features);
  BITSMITH_CHECK(row >= 0 && row < tensor.out_features);
  const int64_t first = row / layout.rows * layout.rows;
  const int64_t height = std::min(layout.rows, tensor.out_features - first);
  const int64_t at = first * layout.column_groups + piece * height + (row - first);
  const auto bytes = static_cast<size_t>(codes.shape[1]);
  return codes.bytes.subspan(static_cast<size_t>(at) * bytes, bytes);
}

void decode_uniform_row(const QuantizedTensor& tensor, const UniformSpec& spec, int64_t row,
                        std::span<float> out) {
  const int64_t group_size = spec.group_size > 0 ? spec.group_size : tensor.in_features;
  const int64_t groups = tensor.in_features / group_size;
  const std::vector<uint16_t> codes = row_codes(tensor, row);
  const auto scales = part_row(tensor, tensor.part("scales"), row);
  std::vector<uint16_t> zeros(static_cast<size_t>(groups),
                              static_cast<uint16_t>(1u << (spec.nbits - 1)));
  if (spec.zero_points) unpack_row(part_row(tensor, tensor.part("zeros"), row), spec.nbits, zeros);
  for (int64_t i = 0; i < tensor.in_features; ++i) {
    const int64_t group = i / group_size;
    const float scale = fp16_to_float(load16(scales, group));
    out[i] = scale * static_cast<float>(int{codes[i]} - int{zeros[group]});
  }
}

void decode_additive_row(const QuantizedTensor& tensor, const AdditiveSpec& spec, int64_t row,
                         std::span<float> out) {
  const int64_t codebooks = spec.num_codebooks, size = spec.in_group_size;
  const int64_t entries = int64_t{1} << spec.nbits_per_codebook;
  const std::vector<uint16_t> codes = row_codes(tensor, row);
  const auto vectors = tensor.part("codebooks").bytes;
  const std::vector<float> scales = additive_scales(tensor, row);
  for (int64_t i = 0; i < tensor.in_features; ++i) {
    const int64_t group = i / size, at = i % size;
    float sum = 0;
    for (int64_t m = 0; m < codebooks; ++m) {
      const int64_t entry = m * entries + codes[group * codebooks + m];
      sum += fp16_to_float(load16(vectors, entry * size + at));
    }
    out[i] = scales[scales.size() > 1 ? group : 0] * sum;
  }
}

void decode_grouped_row(const QuantizedTensor& tensor, const GroupedSpec& spec, int64_t row,
                        std::span<float> out) {
  const GroupedLayout layout = grouped_layout(spec, tensor.out_features, tensor.in_features);
  const int64_t d = layout.vector_size, strip = row / layout.rows;
  const std::vector<uint16_t> codes = row_codes(tensor, row);
  for (int64_t group = 0; group < layout.column_groups; ++group) {
    const std::vector<float> centroids = tile_centroids(tensor, strip, group);
    for (int64_t i = group * layout.columns; i < (group + 1) * layout.columns; ++i) {
      out[i] = centroids[static_cast<size_t>(codes[i / d] * d + i % d)];
    }
  }
  if (spec.scale_block == 0) return;
  std::vector<uint16_t> scale_codes(static_cast<size_t>(tensor.in_features / spec.scale_block));
  unpack_row(part_row(tensor, tensor.part("block_scales"), row), 4, scale_codes);
  for (int64_t group = 0; group < layout.column_groups; ++group) {
    const auto scales = tile_block_scales(tensor, strip, group);
    for (int64_t i = group * layout.columns; i < (group + 1) * layout.columns; ++i) {
      out[i] *= scales[scale_codes[i / spec.scale_block]];
    }
  }
}

bool all_finite_fp16(std::span<const std::byte> bytes) {
  const int64_t count = static_cast<int64_t>(bytes.size() / 2);
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) finite &= (load16(bytes, i) & 0x7c00u) != 0x7c00u;
  return finite;
}

// 2^(first + 15 step) neither overflows nor vanishes in float32, with room for the codebooks.
bool usable_scale_grid(std::span<const std::byte> bytes) {
  constexpr float kLargestExponent = 64;
  const int64_t lines = static_cast<int64_t>(bytes.size() / 4);
  for (int64_t i = 0; i < lines; ++i) {
    const float first = fp16_to_float(load16(bytes, 2 * i));
    const float step = fp16_to_float(load16(bytes, 2 * i + 1));
    if (std::abs(first) > kLargestExponent || std::abs(15 * step) > kLargestExponent) return false;
  }
  return true;
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
  tensor.spec = spec;
  tensor.out_features = out_features;
  tensor.in_features = in_features;
  std::vector<size_t> offsets;
  size_t total = 0;
  const std::vector<PartLayout> layout = part_layout(spec, out_features, in_features);
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

std::vector<uint16_t> row_codes(const QuantizedTensor& tensor, int64_t row) {
  const CodeLayout layout = code_layout(tensor);
  const auto count = static_cast<size_t>(layout.count);
  std::vector<uint16_t> codes(count * static_cast<size_t>(layout.pieces));
  for (int64_t p = 0; p < layout.pieces; ++p) {
    unpack_row(code_piece(tensor, row, p), layout.nbits,
               std::span(codes).subspan(static_cast<size_t>(p) * count, count));
  }
  return codes;
}

void set_row_codes(const QuantizedTensor& tensor, int64_t row, std::span<const uint16_t> codes) {
  const CodeLayout layout = code_layout(tensor);
  BITSMITH_CHECK(static_cast<int64_t>(codes.size()) == layout.pieces * layout.count);
  const auto count = static_cast<size_t>(layout.count);
  for (int64_t p = 0; p < layout.pieces; ++p) {
    pack_row(codes.subspan(static_cast<size_t>(p) * count, count), layout.nbits,
             writable(code_piece(tensor, row, p)));
  }
}

std::vector<float> tile_centroids(const QuantizedTensor& tensor, int64_t strip, int64_t group) {
  const auto& spec = std::get<GroupedSpec>(tensor.spec);
  const TensorView& part = tensor.part("codebooks");
  const int64_t tile = strip * part.shape[1] + group;
  const int64_t count = part.shape[2] * part.shape[3];
  std::vector<float> values(static_cast<size_t>(count));
  if (spec.fp16_codebooks) {
    for (int64_t i = 0; i < count; ++i) {
      values[i] = fp16_to_float(load16(part.bytes, tile * count + i));
    }
  } else {
    const float scale = fp16_to_float(load16(tensor.part("codebook_scales").bytes, tile));
    for (int64_t i = 0; i < count; ++i) {
      values[i] = scale * static_cast<float>(static_cast<int8_t>(part.bytes[tile * count + i]));
    }
  }
  if (spec.rank == 0) return values;
  const auto basis = tensor.part("codebook_basis").bytes;
  std::vector<float> sums(static_cast<size_t>(spec.centroids()));
  for (int64_t m = 0; m < spec.centroids(); ++m) {
    for (int64_t k = 0; k < spec.rank; ++k) {
      sums[m] += values[k] * fp16_to_float(load16(basis, k * spec.centroids() + m));
    }
  }
  return sums;
}

std::array<float, 16> tile_block_scales(const QuantizedTensor& tensor, int64_t strip,
                                        int64_t group) {
  const TensorView& part = tensor.part("block_scale_grid");
  const int64_t tile = strip * part.shape[1] + group;
  const float first = fp16_to_float(load16(part.bytes, 2 * tile));
  const float step = fp16_to_float(load16(part.bytes, 2 * tile + 1));
  std::array<float, 16> scales;
  for (int code = 0; code < 16; ++code) {
    scales[code] = std::exp2(first + static_cast<float>(code) * step);
  }
  return scales;
}

std::vector<uint16_t> additive_scale_codes(const QuantizedTensor& tensor, int64_t row) {
  const auto& spec = std::get<AdditiveSpec>(tensor.spec);
  std::vector<uint16_t> codes(static_cast<size_t>(tensor.in_features / spec.in_group_size));
  unpack_row(part_row(tensor, tensor.part("group_scales"), row), spec.scale_bits, codes);
  return codes;
}

std::vector<float> additive_scales(const QuantizedTensor& tensor, int64_t row) {
  const float own = fp16_to_float(load16(part_row(tensor, tensor.part("scales"), row), 0));
  if (std::get<AdditiveSpec>(tensor.spec).scale_bits == 0) return {own};
  const auto values = tensor.part("group_scale_values").bytes;
  std::vector<float> scales;
  for (const uint16_t code : additive_scale_codes(tensor, row)) {
    scales.push_back(own * fp16_to_float(load16(values, code)));
  }
  return scales;
}

void decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t count,
                 std::span<float> out) {
  BITSMITH_CHECK(static_cast<int64_t>(out.size()) == count * tensor.in_features);
  for (int64_t i = 0; i < count; ++i) {
    const auto row = out.subspan(static_cast<size_t>(i * tensor.in_features),
                                 static_cast<size_t>(tensor.in_features));
    if (const auto* uniform = std::get_if<UniformSpec>(&tensor.spec)) {
      decode_uniform_row(tensor, *uniform, first + i, row);
    } else if (const auto* grouped = std::get_if<GroupedSpec>(&tensor.spec)) {
      decode_grouped_row(tensor, *grouped, first + i, row);
    } else {
      decode_additive_row(tensor, std::get<AdditiveSpec>(tensor.spec), first + i, row);
    }
  }
}

void verify(const QuantizedTensor& tensor, const std::string& source) {
  const auto layout = part_layout(tensor.spec, tensor.out_features, tensor.in_features, source);
  const std::string kind = to_string(tensor.spec);
  if (layout.size() != tensor.parts.size()) {
    throw Error(
        concat(source, ": ", kind, " has ", layout.size(), " parts, found ", tensor.parts.size()));
  }
  for (size_t i = 0; i < layout.size(); ++i) {
    const PartLayout& expected = layout[i];
    const TensorView& found = tensor.parts[i];
    if (found.name != expected.name || found.dtype != expected.dtype ||
        found.shape != expected.shape ||
        static_cast<int64_t>(found.bytes.size()) != byte_size(expected.dtype, expected.shape)) {
      throw Error(concat(source, ".", expected.name, ": ", kind, " needs ",
                         dtype_name(expected.dtype), " ", shape_string(expected.shape), ", found ",
                         dtype_name(found.dtype), " ", shape_string(found.shape), " in ",
                         found.bytes.size(), " bytes"));
    }
    if (expected.dtype == DType::F16 && !all_finite_fp16(found.bytes)) {
      throw Error(concat(source, ".", expected.name, " holds infinite or undefined values"));
    }
    if (expected.name == "block_scale_grid" && !usable_scale_grid(found.bytes)) {
      throw Error(concat(source, ".", expected.name, " holds exponents beyond 64"));
    }
  }
}

}  // namespace bitsmith
