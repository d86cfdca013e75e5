#include "format/representation_spec.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "format/bit_packing.h"

namespace bitsmith {
namespace {

constexpr const char* kGrammar =
    "a representation is intBgG[-z] (uniform: B = 1..8 bits, a scale for each G inputs, G = 0 for "
    "the whole row, -z adds zero points) or aqMxBgG (additive: the sum of M = 1..8 codebooks of "
    "2^B vectors of G inputs, B = 1..16, G = 1..64), for example int4g64, int2g32-z, aq2x8g8";
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
  void expect_end() {
    if (!rest_.empty()) fail(concat("'", rest_, "' is not understood"));
  }
  [[noreturn]] void fail(const std::string& reason) const {
    throw UsageError(concat("representation '", text_, "': ", reason, "; ", kGrammar));
  }

 private:
  std::string text_;
  std::string_view rest_;
};

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

Groups groups_of(const RepresentationSpec& spec, int64_t out_features, int64_t in_features,
                 const std::string& module) {
  const std::string where = module.empty() ? "" : " of " + module;
  if (out_features <= 0 || in_features <= 0) {
    throw Error(concat("a matrix", where, " of ", out_features, " x ", in_features,
                       " cannot be quantised"));
  }
  element_count({out_features, in_features, 16});  // an Error if sizes in bits overflow
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
  if (cursor.take("aq")) {
    AdditiveSpec spec;
    spec.num_codebooks = static_cast<int>(cursor.number("codebooks", 1, 8));
    cursor.expect("x");
    spec.nbits_per_codebook = static_cast<int>(cursor.number("bits a codebook", 1, 16));
    cursor.expect("g");
    spec.in_group_size = cursor.number("inputs a group", 1, 64);
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
  const auto& additive = std::get<AdditiveSpec>(spec);
  return concat("aq", additive.num_codebooks, "x", additive.nbits_per_codebook, "g",
                additive.in_group_size);
}

std::vector<PartLayout> part_layout(const RepresentationSpec& spec, int64_t out_features,
                                    int64_t in_features, const std::string& module) {
  const Groups groups = groups_of(spec, out_features, in_features, module);
  if (const auto* uniform = std::get_if<UniformSpec>(&spec)) {
    std::vector<PartLayout> parts = {
        {"codes", DType::U8, {out_features, packed_row_bytes(in_features, uniform->nbits)}},
        {"scales", DType::F16, {out_features, groups.count}}};
    if (uniform->zero_points) {
      const int64_t bytes = packed_row_bytes(groups.count, uniform->nbits);
      parts.push_back({"zeros", DType::U8, {out_features, bytes}});
    }
    return parts;
  }
  const auto& additive = std::get<AdditiveSpec>(spec);
  const int64_t codebooks = additive.num_codebooks, nbits = additive.nbits_per_codebook;
  PartLayout codes{"codes", DType::U8, {}};
  if (nbits == 8 || nbits == 16) {
    codes.dtype = nbits == 8 ? DType::I8 : DType::I16;
    codes.shape = {out_features, groups.count, codebooks};
  } else {
    codes.shape = {out_features,
                   packed_row_bytes(groups.count * codebooks, additive.nbits_per_codebook)};
  }
  return {codes,
          {"codebooks", DType::F16, {codebooks, int64_t{1} << nbits, 1, groups.size}},
          {"scales", DType::F16, {out_features, 1, 1, 1}}};
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
