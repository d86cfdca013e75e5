#include "format/representation_spec.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "format/bit_packing.h"

namespace bitsmith {
namespace {

constexpr const char* kGrammar =
    "a representation is intBgG[-z] (uniform: B = 1..8 bits, a scale for each G inputs, G = 0 for "
    "the whole row, -z adds zero points), aqMxBgG[-sS] (additive: the sum of M = 1..8 codebooks of "
    "2^B vectors of G inputs, B = 1..16, G = 1..64, -s: a scale of S = 1..8 bits a group) or "
    "gvqDdBb[-nN][-gC][-sS][-c16][-rR] (grouped "
    "codebooks: vectors of D = 1, 2 or 4 inputs, B bits a weight, N weights a codebook, C inputs a "
    "column group, a 4-bit scale for each S inputs, -c16 for fp16 codebooks, codebooks of rank R), "
    "for example int4g64, int2g32-z, aq2x8g8, gvq2d2b, gvq2d2b-n1024, gvq1d3b-s64";
constexpr int64_t kLargestGroup = int64_t{1} << 30;

// Reads a representation string from left to right.
class Cursor {
 public:
  explicit Cursor(const std::string& text) : text_(text), rest_(text_) {}

  bool take(std::string_view literal) {
    if (!rest_.starts_with(literal)) return false;
    rest_.remove_prefix(literal.size());
    return true;
  }
  void expect(std::string_view literal) {
    if (!take(literal)) fail(concat("'", literal, "' is missing"));
  }
  int64_t number(const char* what, int64_t low, int64_t high) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    const auto digits = static_cast<size_t>(end - rest_.data());
    const bool plain = digits == 1 || (digits > 1 && rest_[0] != '0' && rest_[0] != '-');
    if (error != std::errc() || !plain) fail(concat("the number of ", what, " is missing"));
    if (value < low || value > high) {
      fail(concat(value, " ", what, " is outside ", low, "..", high));
    }
    rest_.remove_prefix(digits);
    return value;
  }
  // A number with at most two decimals, in hundredths.
  int64_t hundredths(const char* what) {
    int64_t value = number(what, 0, 16) * 100;
    if (!take(".")) return value;
    for (int64_t unit = 10; unit > 0 && !rest_.empty(); unit /= 10) {
      const char digit = rest_[0];
      if (digit < '0' || digit > '9') {
        if (unit == 10) fail(concat("a digit of the number of ", what, " is missing"));
        break;
      }
      value += unit * (digit - '0');
      rest_.remove_prefix(1);
    }
    return value;
  }
  void expect_end() {
    if (!rest_.empty()) fail(concat("'", excerpt(rest_), "' is not understood"));
  }
  [[noreturn]] void fail(const std::string& reason) const {
    throw UsageError(concat("representation '", excerpt(text_), "': ", reason, "; ", kGrammar));
  }

 private:
  std::string text_;
  std::string_view rest_;
};

GroupedSpec parse_grouped(Cursor& cursor) {
  GroupedSpec spec;
  spec.vector_size = static_cast<int>(cursor.number("inputs a vector", 1, 4));
  if (spec.vector_size == 3) cursor.fail("vectors have 1, 2 or 4 inputs");
  cursor.expect("d");
  const int64_t bits = cursor.hundredths("bits a weight") * spec.vector_size;
  if (bits % 100 != 0) cursor.fail("B * D, the bits of an index, is not a whole number");
  if (bits < 100 || bits > 1600) {
    cursor.fail(concat(bits / 100, " bits of an index (B * D) are outside 1..16"));
  }
  spec.index_bits = static_cast<int>(bits / 100);
  cursor.expect("b");
  if (cursor.take("-n"))
    spec.codebook_weights = cursor.number("weights a codebook", 1, kLargestGroup);
  if (cursor.take("-g"))
    spec.column_group = cursor.number("inputs a column group", 1, kLargestGroup);
  if (cursor.take("-s")) spec.scale_block = cursor.number("inputs a scale", 1, kLargestGroup);
  spec.fp16_codebooks = cursor.take("-c16");
  if (cursor.take("-r")) {
    if (spec.vector_size != 1) cursor.fail("-r, the rank of codebooks, needs vectors of one input");
    spec.rank = static_cast<int>(cursor.number("rows of rank", 1, spec.centroids() - 1));
  }
  if (spec.scale_block % spec.vector_size != 0) {
    cursor.fail(concat("a scale for ", spec.scale_block, " inputs would cut vectors of ",
                       spec.vector_size));
  }
  cursor.expect_end();
  return spec;
}

std::string grouped_text(const GroupedSpec& spec) {
  const int64_t hundredths = int64_t{100} * spec.index_bits / spec.vector_size;
  std::string bits = std::to_string(hundredths / 100);
  if (hundredths % 100 != 0) {
    bits += concat(".", hundredths / 10 % 10);
    if (hundredths % 10 != 0) bits += std::to_string(hundredths % 10);
  }
  std::string text = concat("gvq", spec.vector_size, "d", bits, "b");
  if (spec.codebook_weights > 0) text += concat("-n", spec.codebook_weights);
  if (spec.column_group > 0) text += concat("-g", spec.column_group);
  if (spec.scale_block > 0) text += concat("-s", spec.scale_block);
  if (spec.fp16_codebooks) text += "-c16";
  if (spec.rank > 0) text += concat("-r", spec.rank);
  return text;
}

struct Groups {
  int64_t size;   // inputs a group
  int64_t count;  // groups a row
};

// Sizes worth proposing: small ones would cost more in scales than they save.
std::string fitting_sizes(const RepresentationSpec& spec, int64_t in_features) {
  const bool uniform = std::holds_alternative<UniformSpec>(spec);
  const int64_t step = uniform ? 8 : 4;
  const int64_t largest = uniform ? std::min<int64_t>(in_features, 1024) : 64;
  std::string text;
  for (int64_t size = step; size <= largest; size += step) {
    if (in_features % size == 0) text += (text.empty() ? "" : ", ") + std::to_string(size);
  }
  if (uniform) text += text.empty() ? "0 (the whole row)" : ", 0 (the whole row)";
  if (!text.empty()) return text;
  for (int64_t size = 1; size <= largest; ++size) {
    if (in_features % size == 0) text += (text.empty() ? "" : ", ") + std::to_string(size);
  }
  return text;
}

void check_matrix(int64_t out_features, int64_t in_features, const std::string& where) {
  if (out_features <= 0 || in_features <= 0) {
    throw Error(concat("a matrix", where, " of ", out_features, " x ", in_features,
                       " cannot be quantized"));
  }
  element_count({out_features, in_features, 16});  // an Error if sizes in bits overflow
}

Groups groups_of(const RepresentationSpec& spec, int64_t in_features, const std::string& where) {
  const auto* uniform = std::get_if<UniformSpec>(&spec);
  const int64_t asked = uniform ? uniform->group_size : std::get<AdditiveSpec>(spec).in_group_size;
  if (uniform && asked == 0) return {in_features, 1};
  if (asked <= 0 || in_features % asked != 0) {
    throw UsageError(concat("group size ", asked, " does not divide ", in_features, " inputs",
                            where, "; sizes that do: ", fitting_sizes(spec, in_features)));
  }
  return {asked, in_features / asked};
}

}  // namespace

RepresentationSpec parse_representation(const std::string& text) {
  Cursor cursor(text);
  if (cursor.take("int")) {
    UniformSpec spec;
    spec.nbits = static_cast<int>(cursor.number("bits", 1, 8));
    cursor.expect("g");
    spec.group_size = cursor.number("inputs a group", 0, kLargestGroup);
    spec.zero_points = cursor.take("-z");
    cursor.expect_end();
    return spec;
  }
  if (cursor.take("gvq")) return parse_grouped(cursor);
  if (cursor.take("aq")) {
    AdditiveSpec spec;
    spec.num_codebooks = static_cast<int>(cursor.number("codebooks", 1, 8));
    cursor.expect("x");
    spec.nbits_per_codebook = static_cast<int>(cursor.number("bits a codebook", 1, 16));
    cursor.expect("g");
    spec.in_group_size = cursor.number("inputs a group", 1, 64);
    if (cursor.take("-s")) spec.scale_bits = static_cast<int>(cursor.number("bits a scale", 1, 8));
    cursor.expect_end();
    return spec;
  }
  cursor.fail("the kind is unknown");
}

std::string to_string(const RepresentationSpec& spec) {
  if (const auto* uniform = std::get_if<UniformSpec>(&spec)) {
    return concat("int", uniform->nbits, "g", uniform->group_size,
                  uniform->zero_points ? "-z" : "");
  }
  if (const auto* grouped = std::get_if<GroupedSpec>(&spec)) return grouped_text(*grouped);
  const auto& additive = std::get<AdditiveSpec>(spec);
  std::string text = concat("aq", additive.num_codebooks, "x", additive.nbits_per_codebook, "g",
                            additive.in_group_size);
  if (additive.scale_bits > 0) text += concat("-s", additive.scale_bits);
  return text;
}

GroupedLayout grouped_layout(const GroupedSpec& spec, int64_t out_features, int64_t in_features,
                             const std::string& module) {
  const std::string where = module.empty() ? "" : " of " + module;
  check_matrix(out_features, in_features, where);
  const int64_t d = spec.vector_size, step = spec.scale_block > 0 ? spec.scale_block : d;
  const auto fits = [&](int64_t columns) {
    return columns > 0 && in_features % columns == 0 && columns % step == 0;
  };
  // The paper's default: codebooks, int8 or fp16, cost 1/8 bit a weight. Beside block scales, which
  // do much of what small codebooks do, 1/32.
  const int64_t value_bits = spec.fp16_codebooks ? 16 : 8;
  const int64_t weights_a_bit = spec.scale_block > 0 ? 32 : 8;
  const int64_t asked = spec.codebook_weights > 0
                            ? spec.codebook_weights
                            : weights_a_bit * value_bits * d * spec.centroids();
  GroupedLayout layout{};
  layout.vector_size = d;
  layout.columns = spec.column_group;
  if (layout.columns == 0) {
    const int64_t widest = std::min<int64_t>({in_features, std::max(asked, step), 256});
    layout.columns = widest;
    while (layout.columns > 0 && !fits(layout.columns)) --layout.columns;
    for (int64_t c = widest + 1; layout.columns == 0 && c <= in_features; ++c) {
      if (fits(c)) layout.columns = c;
    }
  }
  if (!fits(layout.columns)) {
    std::string sizes;
    for (int64_t c = step; c <= std::min<int64_t>(in_features, 1024); c += step) {
      if (fits(c)) sizes += (sizes.empty() ? "" : ", ") + std::to_string(c);
    }
    const std::string asked_for =
        spec.column_group > 0  ? concat("column groups of ", spec.column_group, " inputs do")
        : spec.scale_block > 0 ? concat("scales for ", spec.scale_block, " inputs do")
                               : concat("vectors of ", d, " inputs do");
    throw UsageError(concat(asked_for, " not fit ", in_features, " inputs", where,
                            sizes.empty() ? "" : "; column groups that do: ", sizes));
  }
  layout.column_groups = in_features / layout.columns;
  // Strips of even height, as many as come nearest to N weights a codebook.
  const double wanted = static_cast<double>(out_features) * static_cast<double>(layout.columns) /
                        static_cast<double>(asked);
  const int64_t strips =
      std::clamp<int64_t>(static_cast<int64_t>(std::llround(wanted)), 1, out_features);
  layout.rows = (out_features + strips - 1) / strips;
  layout.strips = (out_features + layout.rows - 1) / layout.rows;
  if (layout.rows * layout.tile_row_codes() < spec.centroids()) {
    throw UsageError(concat(spec.centroids(), " centroids for the ",
                            layout.rows * layout.tile_row_codes(), " vectors of a codebook", where,
                            "; use more weights a codebook (-n) or fewer bits"));
  }
  return layout;
}

namespace {

std::vector<PartLayout> uniform_parts(const UniformSpec& spec, int64_t out_features,
                                      int64_t in_features, const std::string& where) {
  const Groups groups = groups_of(spec, in_features, where);
  std::vector<PartLayout> parts = {
      {"codes", DType::U8, {out_features, packed_row_bytes(in_features, spec.nbits)}},
      {"scales", DType::F16, {out_features, groups.count}}};
  if (spec.zero_points) {
    const int64_t bytes = packed_row_bytes(groups.count, spec.nbits);
    parts.push_back({"zeros", DType::U8, {out_features, bytes}});
  }
  return parts;
}

std::vector<PartLayout> additive_parts(const AdditiveSpec& spec, int64_t out_features,
                                       int64_t in_features, const std::string& where) {
  const Groups groups = groups_of(spec, in_features, where);
  const int64_t codebooks = spec.num_codebooks, nbits = spec.nbits_per_codebook;
  PartLayout codes{"codes", DType::U8, {}};
  if (nbits == 8 || nbits == 16) {
    codes.dtype = nbits == 8 ? DType::I8 : DType::I16;
    codes.shape = {out_features, groups.count, codebooks};
  } else {
    codes.shape = {out_features,
                   packed_row_bytes(groups.count * codebooks, spec.nbits_per_codebook)};
  }
  std::vector<PartLayout> parts = {
      codes,
      {"codebooks", DType::F16, {codebooks, int64_t{1} << nbits, 1, groups.size}},
      {"scales", DType::F16, {out_features, 1, 1, 1}}};
  if (spec.scale_bits > 0) {
    const int64_t bytes = packed_row_bytes(groups.count, spec.scale_bits);
    parts.push_back({"group_scales", DType::U8, {out_features, bytes}});
    parts.push_back({"group_scale_values", DType::F16, {int64_t{1} << spec.scale_bits}});
  }
  return parts;
}

std::vector<PartLayout> grouped_parts(const GroupedSpec& spec, int64_t out_features,
                                      int64_t in_features, const std::string& module) {
  const GroupedLayout layout = grouped_layout(spec, out_features, in_features, module);
  const int64_t entries = spec.rank > 0 ? spec.rank : spec.centroids();
  std::vector<PartLayout> parts = {
      {"codes",
       DType::U8,
       {out_features * layout.column_groups,
        packed_row_bytes(layout.tile_row_codes(), spec.index_bits)}},
      {"codebooks",
       spec.fp16_codebooks ? DType::F16 : DType::I8,
       {layout.strips, layout.column_groups, entries, layout.vector_size}}};
  const std::vector<int64_t> each = {layout.strips, layout.column_groups};
  if (!spec.fp16_codebooks) parts.push_back({"codebook_scales", DType::F16, each});
  if (spec.rank > 0) parts.push_back({"codebook_basis", DType::F16, {spec.rank, spec.centroids()}});
  if (spec.scale_block > 0) {
    const int64_t bytes = packed_row_bytes(in_features / spec.scale_block, 4);
    parts.push_back({"block_scales", DType::U8, {out_features, bytes}});
    parts.push_back({"block_scale_grid", DType::F16, {layout.strips, layout.column_groups, 2}});
  }
  return parts;
}

}  // namespace

std::vector<PartLayout> part_layout(const RepresentationSpec& spec, int64_t out_features,
                                    int64_t in_features, const std::string& module) {
  const std::string where = module.empty() ? "" : " of " + module;
  check_matrix(out_features, in_features, where);
  if (const auto* uniform = std::get_if<UniformSpec>(&spec)) {
    return uniform_parts(*uniform, out_features, in_features, where);
  }
  if (const auto* grouped = std::get_if<GroupedSpec>(&spec)) {
    return grouped_parts(*grouped, out_features, in_features, module);
  }
  return additive_parts(std::get<AdditiveSpec>(spec), out_features, in_features, where);
}

double bits_per_weight(const RepresentationSpec& spec, int64_t out_features, int64_t in_features) {
  int64_t bytes = 0;
  for (const PartLayout& part : part_layout(spec, out_features, in_features)) {
    bytes += byte_size(part.dtype, part.shape);
  }
  return 8.0 * static_cast<double>(bytes) /
         (static_cast<double>(out_features) * static_cast<double>(in_features));
}

}  // namespace bitsmith
