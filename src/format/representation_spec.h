// What a representation string says: "int4g64", "int2g32-z", "aq2x8g8", "gvq2d2b".
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

// aqMxBgG[-sS] (AQLM): w[j*G .. j*G+G-1] = scale[row] * sum_m codebooks[m][codes[row, j, m]]; fp16
// codebooks [M, 2^B, G] of the matrix, fp16 scale per row. M = 1 is plain vector quantization. With
// -s every group has a scale of S bits more, an index into 2^S fp16 values of the matrix.
struct AdditiveSpec {
  int num_codebooks = 2;       // 1..8
  int nbits_per_codebook = 8;  // 1..16
  int64_t in_group_size = 8;   // a divisor of in_features, at most 64
  int scale_bits = 0;          // S: 0 (none) .. 8
  bool operator==(const AdditiveSpec&) const = default;
};

// gvqDdBb[-nN][-gC][-sS][-c16][-rR] (GPTVQ, van Baalen et al. 2024): D adjacent inputs share an
// index of B * D bits into a codebook of 2^(B D) centroids; every strip of rows x group of columns,
// about N weights, has a codebook of its own.
struct GroupedSpec {
  int vector_size = 2;           // D: 1, 2 or 4
  int index_bits = 4;            // B * D: 1..16; B may be a decimal, as 1.5
  int64_t codebook_weights = 0;  // N; 0: so many that codebooks cost 1/8 bit a weight, with -s 1/32
  int64_t column_group = 0;      // C inputs, a divisor of in_features; 0: the largest up to 256
  int64_t scale_block = 0;       // S inputs share a 4-bit logarithmic scale; 0: none
  bool fp16_codebooks = false;   // -c16: fp16 instead of int8 with an fp16 scale a codebook
  int rank = 0;                  // -rR (D = 1): codebooks are sums of R shared rows; 0: free
  int64_t centroids() const { return int64_t{1} << index_bits; }
  bool operator==(const GroupedSpec&) const = default;
};

using RepresentationSpec = std::variant<UniformSpec, AdditiveSpec, GroupedSpec>;

// How a gvq matrix is cut. Codes lie tile by tile: strip by strip, in each the column groups in
// turn, in each its rows.
struct GroupedLayout {
  int64_t columns;        // inputs of a column group
  int64_t column_groups;  // a row
  int64_t rows;           // of a strip; the last one may be shorter
  int64_t strips;
  int64_t tile_row_codes() const { return columns / vector_size; }
  int64_t vector_size;
};
// Throws UsageError when the sizes do not fit; the message names those that do.
GroupedLayout grouped_layout(const GroupedSpec& spec, int64_t out_features, int64_t in_features,
                             const std::string& module = "");

// Throws UsageError that says what the grammar is and which value is out of range.
RepresentationSpec parse_representation(const std::string& text);
std::string to_string(const RepresentationSpec& spec);

// One stored array of a quantized matrix, kept in the file as tensor "MODULE.NAME".
struct PartLayout {
  std::string name;  // "codes", "codebooks", "scales", "zeros", ...
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
