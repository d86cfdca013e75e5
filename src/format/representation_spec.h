// What a representation string says: "int4g64", "int2g32-z", "aq2x8g8".
#pragma once
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "checkpoint/tensor_view.h"

namespace bitsmith {

// intBgG[-z]: w = scale * (code - zero), codes of B bits, one fp16 scale per row and G inputs
// (G = 0: the whole row). Without zero points zero is 2^(B-1); scales may be negative. With -z a
// zero point of B bits per group is stored.
struct UniformSpec {
  int nbits = 4;            // 1..8
  int64_t group_size = 64;  // 0 or a divisor of in_features
  bool zero_points = false;
  bool operator==(const UniformSpec&) const = default;
};

// aqMxBgG (AQLM): w[j*G .. j*G+G-1] = scale[row] * sum_m codebooks[m][codes[row, j, m]]; fp16
// codebooks [M, 2^B, G] of the matrix, fp16 scale per row. M = 1 is plain vector quantisation.
struct AdditiveSpec {
  int num_codebooks = 2;       // 1..8
  int nbits_per_codebook = 8;  // 1..16
  int64_t in_group_size = 8;   // a divisor of in_features, at most 64
  bool operator==(const AdditiveSpec&) const = default;
};

using RepresentationSpec = std::variant<UniformSpec, AdditiveSpec>;

// Throws UsageError that says what the grammar is and which value is out of range.
RepresentationSpec parse_representation(const std::string& text);
std::string to_string(const RepresentationSpec& spec);

// One stored array of a quantised matrix, kept in the file as tensor "MODULE.NAME".
struct PartLayout {
  std::string name;  // "codes", "codebooks", "scales", "zeros"
  DType dtype;
  std::vector<int64_t> shape;
};

// The arrays of a [out_features, in_features] matrix in this representation (docs/format.md).
// Throws UsageError when the sizes do not fit; the message names the group sizes that do, and
// `module` when given.
std::vector<PartLayout> part_layout(const RepresentationSpec& spec, int64_t out_features,
                                    int64_t in_features, const std::string& module = "");
// Everything the file holds, in bits per weight.
double bits_per_weight(const RepresentationSpec& spec, int64_t out_features, int64_t in_features);

}  // namespace bitsmith
