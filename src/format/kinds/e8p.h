// e8p, e8p3, e8p4 (QuIP#, Tseng et al. 2024): eight inputs of a row are a point of a fixed lattice
// codebook times a scale; with 3 and 4 bits a second point is added (residual quantization).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "format/kinds/e8_lattice.h"
#include "format/part_layout.h"
#include "format/spec_text.h"

namespace bitsmith {

struct QuantizedTensor;

// w[8 j .. 8 j + 7] = scales[row, 0] * e8p_points()[codes[row, j]], and with a second stage plus
// scales[row, 1] * points[residual_codes[row, j]]: for 3 bits of e8_short_points(), for 4 of
// e8p_points(). An fp16 scale for each row and stage; codebooks are no part of the file.
struct E8pSpec {
  int bits = 2;  // of a weight: 2, 3 or 4
  bool operator==(const E8pSpec&) const = default;

  int stages() const { return bits == 2 ? 1 : 2; }
  int code_bits(int stage) const { return stage == 1 && bits == 3 ? 8 : 16; }
  // The codebook of a stage [2^code_bits, 8].
  std::span<const float> points(int stage) const {
    return code_bits(stage) == 8 ? e8_short_points() : e8p_points();
  }

  // See Kind in kinds.h.
  static constexpr const char* kName = "e8p";
  static constexpr const char* kGrammar =
      "e8p (lattice: 8 inputs are a point of E8P times the row's scale, 2 bits a weight; e8p3, "
      "e8p4: with a second point, 3 and 4 bits)";
  static constexpr bool kCorrects = false;
  static constexpr bool kRowsStandAlone = true;
  static E8pSpec parse(SpecReader& text);
  std::string text() const;
  static E8pSpec from_json(const Json& fields, const std::string& source);
  OrderedJson to_json() const;
  E8pSpec resolved(int64_t out_features, int64_t in_features, const std::string& where) const;
  E8pSpec shortened(int64_t, int64_t) const { return *this; }
  std::vector<PartLayout> parts(int64_t out_features, int64_t in_features,
                                const std::string& where) const;
  // Of the first stage.
  CodeLayout code_layout(int64_t out_features, int64_t in_features) const;
  void check_quantizable(int64_t, int64_t) const {}
  int64_t least_rows(int64_t, int64_t) const { return 1; }
  void decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t count,
                   std::span<float> out) const;
  void check_values(const QuantizedTensor&, const std::string&) const {}
};

// The codes of a row in one stage [in_features / 8].
std::vector<uint16_t> e8p_row_codes(const QuantizedTensor& tensor, int64_t row, int stage);

}  // namespace bitsmith
