// gvqDdBb[-nN][-tC|-tRxC][-sS][-c16][-rR] (GPTVQ, van Baalen et al. 2024): vectors of D adjacent
// inputs share a code of B * D bits, which chooses one of the 2^(B D) centroids of the codebook
// that their tile, R rows x C inputs, has for itself.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "format/part_layout.h"
#include "format/spec_text.h"

namespace bitsmith {

struct QuantizedTensor;

struct GvqSpec {
  int vector_size = 2;  // D: 1, 2 or 4
  int index_bits = 4;   // B * D: 1..16; B may be a decimal, as 1.5
  // N, about how many weights share a codebook, where tile_rows is not given. 0: so many that
  // codebooks cost 1/8 bit a weight, with -s 1/32 (the paper's default is 1/8).
  int64_t codebook_weights = 0;
  int64_t tile_rows = 0;        // rows of a tile; 0: those that come nearest to N weights
  int64_t tile_columns = 0;     // a divisor of in_features; 0: the largest up to 256
  int64_t scale_block = 0;      // S: inputs of a block with a 4-bit logarithmic scale; 0: none
  bool fp16_codebooks = false;  // -c16: fp16 instead of int8 with an fp16 scale a codebook
  int rank = 0;  // -rR (D = 1): codebooks are combinations of R basis codebooks; 0: free
  static constexpr int kBlockScaleBits = 4;  // of a scale block's scale
  int64_t centroids() const { return int64_t{1} << index_bits; }
  bool operator==(const GvqSpec&) const = default;

  // See Kind in kinds.h.
  static constexpr const char* kName = "gvq";
  static constexpr const char* kGrammar =
      "gvqDdBb[-nN][-tC|-tRxC][-sS][-c16][-rR] (codebook tiles: vectors of D = 1, 2 or 4 inputs, B "
      "bits a weight, a codebook for about N weights, or for each tile of C inputs, or of R rows x "
      "C inputs; a 4-bit scale for each scale block of S inputs, -c16 for fp16 codebooks, "
      "codebooks of rank R)";
  static constexpr bool kCorrects = false;
  static constexpr bool kRowsStandAlone = false;
  static GvqSpec parse(SpecReader& text);
  std::string text() const;
  static GvqSpec from_json(const Json& fields, const std::string& source);
  OrderedJson to_json() const;
  GvqSpec resolved(int64_t out_features, int64_t in_features, const std::string& where) const;
  GvqSpec shortened(int64_t out_features, int64_t in_features) const;
  std::vector<PartLayout> parts(int64_t out_features, int64_t in_features,
                                const std::string& where) const;
  CodeLayout code_layout(int64_t out_features, int64_t in_features) const;
  void check_quantizable(int64_t, int64_t) const {}
  int64_t least_rows(int64_t out_features, int64_t in_features) const;
  void decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t count,
                   std::span<float> out) const;
  void check_values(const QuantizedTensor& tensor, const std::string& source) const;
};

// How a matrix is cut into tiles: strips of rows x column groups. Codes lie tile by tile: strip
// by strip, in each the column groups in turn, in each its rows.
struct GvqLayout {
  int64_t tile_columns;   // inputs of a tile
  int64_t column_groups;  // a row
  int64_t tile_rows;      // rows of a tile; the last strip may have fewer
  int64_t strips;
  int64_t codes_per_tile_row() const { return tile_columns / vector_size; }
  int64_t vector_size;
};
// Throws UsageError when the sizes do not fit; the message names those that do. `where` says whose
// they are (" of model.x").
GvqLayout gvq_layout(const GvqSpec& spec, int64_t out_features, int64_t in_features,
                     const std::string& where = "");

// The centroids of one tile, [2^(B D), D] float32: int8 or fp16 values, times the codebook's scale;
// with a rank the sum over k = 0, 1, ... of value k times basis codebook k.
std::vector<float> tile_centroids(const QuantizedTensor& tensor, int64_t strip,
                                  int64_t column_group);
// With block scales: the 16 scales of one tile, 2^(first + code * step), in float32.
std::array<float, 16> tile_block_scales(const QuantizedTensor& tensor, int64_t strip,
                                        int64_t column_group);

}  // namespace bitsmith
