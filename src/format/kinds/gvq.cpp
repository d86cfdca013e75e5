#include "format/kinds/gvq.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/half.h"
#include "format/bit_packing.h"
#include "format/quantized_tensor.h"
#include "format/spec_fields.h"

namespace bitsmith {
namespace {

constexpr int64_t kLargestSize = int64_t{1} << 30;

// N: how many weights a codebook is made for. int8 codebooks, or fp16, cost 1/8 bit a weight;
// beside block scales, which do much of what small codebooks do, 1/32. Files of version 1 rely on
// it.
int64_t weights_of_codebook(const GvqSpec& spec) {
  if (spec.codebook_weights > 0) return spec.codebook_weights;
  const int64_t value_bits = spec.fp16_codebooks ? 16 : 8;
  const int64_t weights_a_bit = spec.scale_block > 0 ? 32 : 8;
  return weights_a_bit * value_bits * spec.vector_size * spec.centroids();
}

// Inputs of a tile that are a multiple of this keep vectors and scales whole.
int64_t column_step(const GvqSpec& spec) {
  return spec.scale_block > 0 ? spec.scale_block : spec.vector_size;
}

int64_t columns_of_tile(const GvqSpec& spec, int64_t in_features, const std::string& where) {
  const int64_t step = column_step(spec);
  const auto fits = [&](int64_t columns) {
    return columns > 0 && in_features % columns == 0 && columns % step == 0;
  };
  int64_t columns = spec.tile_columns;
  if (columns == 0) {
    const int64_t widest =
        std::min<int64_t>({in_features, std::max(weights_of_codebook(spec), step), 256});
    columns = widest;
    while (columns > 0 && !fits(columns)) --columns;
    for (int64_t c = widest + 1; columns == 0 && c <= in_features; ++c) {
      if (fits(c)) columns = c;
    }
  }
  if (fits(columns)) return columns;
  std::string sizes;
  for (int64_t c = step; c <= std::min<int64_t>(in_features, 1024); c += step) {
    if (fits(c)) sizes += (sizes.empty() ? "" : ", ") + std::to_string(c);
  }
  const std::string asked_for =
      spec.tile_columns > 0  ? concat("tiles of ", spec.tile_columns, " inputs do")
      : spec.scale_block > 0 ? concat("scales for ", spec.scale_block, " inputs do")
                             : concat("vectors of ", spec.vector_size, " inputs do");
  throw UsageError(concat(asked_for, " not fit ", in_features, " inputs", where,
                          sizes.empty() ? "" : "; tiles that do: ", sizes));
}

// Strips of even height, as many as come nearest to N weights a codebook.
int64_t rows_of_tile(const GvqSpec& spec, int64_t out_features, int64_t columns) {
  if (spec.tile_rows > 0) return std::min(spec.tile_rows, out_features);
  const double wanted = static_cast<double>(out_features) * static_cast<double>(columns) /
                        static_cast<double>(weights_of_codebook(spec));
  const int64_t strips =
      std::clamp<int64_t>(static_cast<int64_t>(std::llround(wanted)), 1, out_features);
  return (out_features + strips - 1) / strips;
}

// 2^(first + 15 step) neither overflows nor vanishes in float32, with room for the codebooks.
bool usable_scale_grid(std::span<const std::byte> bytes) {
  constexpr float kLargestExponent = 64;
  const int64_t tiles = static_cast<int64_t>(bytes.size() / 4);
  for (int64_t i = 0; i < tiles; ++i) {
    const float first = load_fp16(bytes, 2 * i), step = load_fp16(bytes, 2 * i + 1);
    if (std::abs(first) > kLargestExponent || std::abs(15 * step) > kLargestExponent) return false;
  }
  return true;
}

void decode_row(const GvqSpec& spec, const QuantizedTensor& tensor, int64_t row,
                std::span<float> out) {
  const GvqLayout layout = gvq_layout(spec, tensor.out_features, tensor.in_features);
  const int64_t d = layout.vector_size, strip = row / layout.tile_rows;
  const std::vector<uint16_t> codes = row_codes(tensor, row);
  for (int64_t column_group = 0; column_group < layout.column_groups; ++column_group) {
    const std::vector<float> centroids = tile_centroids(tensor, strip, column_group);
    for (int64_t i = column_group * layout.tile_columns;
         i < (column_group + 1) * layout.tile_columns; ++i) {
      out[i] = centroids[static_cast<size_t>(codes[i / d] * d + i % d)];
    }
  }
  if (spec.scale_block == 0) return;
  std::vector<uint16_t> scale_codes(static_cast<size_t>(tensor.in_features / spec.scale_block));
  unpack_row(part_row(tensor, "block_scales", row), GvqSpec::kBlockScaleBits, scale_codes);
  for (int64_t column_group = 0; column_group < layout.column_groups; ++column_group) {
    const auto scales = tile_block_scales(tensor, strip, column_group);
    for (int64_t i = column_group * layout.tile_columns;
         i < (column_group + 1) * layout.tile_columns; ++i) {
      out[i] *= scales[scale_codes[i / spec.scale_block]];
    }
  }
}

}  // namespace

GvqSpec GvqSpec::parse(SpecReader& text) {
  GvqSpec spec;
  spec.vector_size = static_cast<int>(text.number("inputs a vector", 1, 4));
  if (spec.vector_size == 3) text.fail("vectors have 1, 2 or 4 inputs");
  text.expect("d");
  const int64_t bits = text.hundredths("bits a weight", 16) * spec.vector_size;
  if (bits % 100 != 0) text.fail("B * D, the bits of a code, is not a whole number");
  if (bits < 100 || bits > 1600) {
    text.fail(concat(bits / 100, " bits of a code (B * D) are outside 1..16"));
  }
  spec.index_bits = static_cast<int>(bits / 100);
  text.expect("b");
  if (text.take("-n")) spec.codebook_weights = text.number("weights a codebook", 1, kLargestSize);
  // -gC was the spelling of format version 1.
  const bool old_columns = text.take("-g");
  if (old_columns || text.take("-t")) {
    spec.tile_columns = text.number("inputs a tile", 1, kLargestSize);
    if (!old_columns && text.take("x")) {
      if (spec.codebook_weights > 0) text.fail("-n and the rows of a tile exclude each other");
      spec.tile_rows = spec.tile_columns;
      spec.tile_columns = text.number("inputs a tile", 1, kLargestSize);
    }
  }
  if (text.take("-s")) spec.scale_block = text.number("inputs a scale", 1, kLargestSize);
  spec.fp16_codebooks = text.take("-c16");
  if (text.take("-r")) {
    if (spec.vector_size != 1) text.fail("-r, the rank of codebooks, needs vectors of one input");
    spec.rank = static_cast<int>(text.number("rank", 1, spec.centroids() - 1));
  }
  if (spec.scale_block % spec.vector_size != 0) {
    text.fail(concat("a scale for ", spec.scale_block, " inputs would cut vectors of ",
                     spec.vector_size));
  }
  return spec;
}

std::string GvqSpec::text() const {
  std::string text =
      concat(kName, vector_size, "d", decimal_text(int64_t{100} * index_bits / vector_size), "b");
  if (codebook_weights > 0) text += concat("-n", codebook_weights);
  if (tile_rows > 0) {
    text += concat("-t", tile_rows, "x", tile_columns);
  } else if (tile_columns > 0) {
    text += concat("-t", tile_columns);
  }
  if (scale_block > 0) text += concat("-s", scale_block);
  if (fp16_codebooks) text += "-c16";
  if (rank > 0) text += concat("-r", rank);
  return text;
}

GvqSpec GvqSpec::from_json(const Json& fields, const std::string& source) {
  check_spec_keys(fields,
                  {"kind", "vector_size", "index_bits", "tile_rows", "tile_columns", "scale_block",
                   "codebook_dtype", "codebook_rank"},
                  source);
  GvqSpec spec;
  spec.vector_size = static_cast<int>(spec_field(fields, "vector_size", 1, 4, source));
  if (spec.vector_size == 3) throw Error(source + ": vector_size is 3; it can be 1, 2 or 4");
  spec.index_bits = static_cast<int>(spec_field(fields, "index_bits", 1, 16, source));
  spec.tile_rows = spec_field(fields, "tile_rows", 1, kLargestSize, source);
  spec.tile_columns = spec_field(fields, "tile_columns", 1, kLargestSize, source);
  spec.scale_block = spec_field(fields, "scale_block", 0, kLargestSize, source);
  if (spec.scale_block % spec.vector_size != 0) {
    throw Error(
        concat(source, ": scale_block ", spec.scale_block, " cuts vectors of ", spec.vector_size));
  }
  const auto dtype = json_get<std::string>(fields, "codebook_dtype", source);
  if (dtype != "int8" && dtype != "float16") {
    throw Error(concat(source, ": codebook_dtype is '", excerpt(dtype), "', not int8 or float16"));
  }
  spec.fp16_codebooks = dtype == "float16";
  const int64_t largest_rank = spec.vector_size == 1 ? spec.centroids() - 1 : 0;
  spec.rank = static_cast<int>(spec_field(fields, "codebook_rank", 0, largest_rank, source));
  return spec;
}

OrderedJson GvqSpec::to_json() const {
  return {{"kind", kName},
          {"vector_size", vector_size},
          {"index_bits", index_bits},
          {"tile_rows", tile_rows},
          {"tile_columns", tile_columns},
          {"scale_block", scale_block},
          {"codebook_dtype", fp16_codebooks ? "float16" : "int8"},
          {"codebook_rank", rank}};
}

GvqLayout gvq_layout(const GvqSpec& spec, int64_t out_features, int64_t in_features,
                     const std::string& where) {
  GvqLayout layout{};
  layout.vector_size = spec.vector_size;
  layout.tile_columns = columns_of_tile(spec, in_features, where);
  layout.column_groups = in_features / layout.tile_columns;
  layout.tile_rows = rows_of_tile(spec, out_features, layout.tile_columns);
  layout.strips = (out_features + layout.tile_rows - 1) / layout.tile_rows;
  const int64_t vectors = layout.tile_rows * layout.codes_per_tile_row();
  if (vectors < spec.centroids()) {
    throw UsageError(concat(spec.centroids(), " centroids for the ", vectors,
                            " vectors of a codebook", where,
                            "; use more weights a codebook (-n) or fewer bits"));
  }
  return layout;
}

GvqSpec GvqSpec::resolved(int64_t out_features, int64_t in_features,
                          const std::string& where) const {
  const GvqLayout layout = gvq_layout(*this, out_features, in_features, where);
  GvqSpec spec = *this;
  spec.codebook_weights = 0;
  spec.tile_rows = layout.tile_rows;
  spec.tile_columns = layout.tile_columns;
  return spec;
}

GvqSpec GvqSpec::shortened(int64_t out_features, int64_t in_features) const {
  const GvqSpec exact = resolved(out_features, in_features, "");
  GvqSpec brief = *this;
  brief.codebook_weights = brief.tile_rows = brief.tile_columns = 0;
  try {
    if (brief.resolved(out_features, in_features, "") == exact) return brief;
  } catch (const UsageError&) {  // the rule's sizes do not fit here
  }
  return *this;
}

std::vector<PartLayout> GvqSpec::parts(int64_t out_features, int64_t in_features,
                                       const std::string& where) const {
  const GvqLayout layout = gvq_layout(*this, out_features, in_features, where);
  const int64_t stored = rank > 0 ? rank : centroids();
  std::vector<PartLayout> parts = {
      {"codes",
       DType::U8,
       {out_features * layout.column_groups,
        packed_row_bytes(layout.codes_per_tile_row(), index_bits)}},
      {"codebooks",
       fp16_codebooks ? DType::F16 : DType::I8,
       {layout.strips, layout.column_groups, stored, layout.vector_size}}};
  const std::vector<int64_t> each = {layout.strips, layout.column_groups};
  if (!fp16_codebooks) parts.push_back({"codebook_scales", DType::F16, each});
  if (rank > 0) parts.push_back({"codebook_basis", DType::F16, {rank, centroids()}});
  if (scale_block > 0) {
    const int64_t bytes = packed_row_bytes(in_features / scale_block, GvqSpec::kBlockScaleBits);
    parts.push_back({"block_scales", DType::U8, {out_features, bytes}});
    parts.push_back({"block_scale_grid", DType::F16, {layout.strips, layout.column_groups, 2}});
  }
  return parts;
}

CodeLayout GvqSpec::code_layout(int64_t out_features, int64_t in_features) const {
  const GvqLayout layout = gvq_layout(*this, out_features, in_features);
  return {layout.column_groups, layout.codes_per_tile_row(), index_bits, layout.tile_rows};
}

int64_t GvqSpec::least_rows(int64_t, int64_t in_features) const {
  const int64_t row_vectors = columns_of_tile(*this, in_features, "") / vector_size;
  return (centroids() + row_vectors - 1) / row_vectors;
}

void GvqSpec::decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t count,
                          std::span<float> out) const {
  for (int64_t i = 0; i < count; ++i) {
    decode_row(*this, tensor, first + i, row_of(out, i, tensor.in_features));
  }
}

void GvqSpec::check_values(const QuantizedTensor& tensor, const std::string& source) const {
  if (scale_block > 0 && !usable_scale_grid(tensor.part("block_scale_grid").bytes)) {
    throw Error(concat(source, ".block_scale_grid holds exponents beyond 64"));
  }
}

std::vector<float> tile_centroids(const QuantizedTensor& tensor, int64_t strip,
                                  int64_t column_group) {
  const auto& spec = tensor.term<GvqSpec>();
  const TensorView& part = tensor.part("codebooks");
  const int64_t tile = strip * part.shape[1] + column_group;
  const int64_t count = part.shape[2] * part.shape[3];
  std::vector<float> values(static_cast<size_t>(count));
  if (spec.fp16_codebooks) {
    for (int64_t i = 0; i < count; ++i) values[i] = load_fp16(part.bytes, tile * count + i);
  } else {
    const float scale = load_fp16(tensor.part("codebook_scales").bytes, tile);
    for (int64_t i = 0; i < count; ++i) {
      values[i] = scale * static_cast<float>(static_cast<int8_t>(part.bytes[tile * count + i]));
    }
  }
  if (spec.rank == 0) return values;
  const auto basis = tensor.part("codebook_basis").bytes;
  std::vector<float> sums(static_cast<size_t>(spec.centroids()));
  for (int64_t m = 0; m < spec.centroids(); ++m) {
    for (int64_t k = 0; k < spec.rank; ++k) {
      sums[m] += values[k] * load_fp16(basis, k * spec.centroids() + m);
    }
  }
  return sums;
}

std::array<float, 16> tile_block_scales(const QuantizedTensor& tensor, int64_t strip,
                                        int64_t column_group) {
  const TensorView& part = tensor.part("block_scale_grid");
  const int64_t tile = strip * part.shape[1] + column_group;
  const float first = load_fp16(part.bytes, 2 * tile);
  const float step = load_fp16(part.bytes, 2 * tile + 1);
  std::array<float, 16> scales;
  for (int code = 0; code < 16; ++code) {
    scales[code] = std::exp2(first + static_cast<float>(code) * step);
  }
  return scales;
}

}  // namespace bitsmith
