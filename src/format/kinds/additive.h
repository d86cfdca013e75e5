// aqMxBgG[-sGxS] (AQLM, Egiazarian et al. 2024): a group of inputs is a sum of centroids.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "format/part_layout.h"
#include "format/spec_text.h"

namespace bitsmith {

struct QuantizedTensor;

// w[j*G .. j*G+G-1] = scale[row] * sum_m codebooks[m][codes[row, j, m]]; fp16 codebooks
// [M, 2^B, G] of the matrix, an fp16 scale per row. M = 1 is plain vector quantization. With -s
// every group has a scale of S bits more, a code that chooses one of 2^S fp16 values of the matrix.
struct AdditiveSpec {
  int num_codebooks = 2;       // M: 1..8
  int nbits_per_codebook = 8;  // B: 1..16
  int64_t in_group_size = 8;   // G: a divisor of in_features, at most 64
  int scale_bits = 0;          // S: 0 (none) .. 8
  bool operator==(const AdditiveSpec&) const = default;

  // See Kind in kinds.h.
  static constexpr const char* kName = "aq";
  static constexpr const char* kGrammar =
      "aqMxBgG[-sGxS] (additive: the sum of M = 1..8 codebooks of 2^B centroids of G inputs, B = "
      "1..16, G = 1..64, -s: a scale of S = 1..8 bits for each G inputs)";
  static constexpr bool kCorrects = false;
  static constexpr bool kRowsStandAlone = false;
  static AdditiveSpec parse(SpecReader& text);
  std::string text() const;
  static AdditiveSpec from_json(const Json& fields, const std::string& source);
  OrderedJson to_json() const;
  AdditiveSpec resolved(int64_t out_features, int64_t in_features, const std::string& where) const;
  AdditiveSpec shortened(int64_t, int64_t) const { return *this; }
  std::vector<PartLayout> parts(int64_t out_features, int64_t in_features,
                                const std::string& where) const;
  CodeLayout code_layout(int64_t out_features, int64_t in_features) const;
  void check_quantizable(int64_t out_features, int64_t in_features) const;
  int64_t least_rows(int64_t, int64_t) const { return 1; }
  void decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t count,
                   std::span<float> out) const;
  void check_values(const QuantizedTensor&, const std::string&) const {}
};

// The scales of one row in float32, a single one or, with group scales, one for each group; and
// the groups' codes [in_features / G].
std::vector<float> additive_scales(const QuantizedTensor& tensor, int64_t row);
std::vector<uint16_t> additive_scale_codes(const QuantizedTensor& tensor, int64_t row);

}  // namespace bitsmith
