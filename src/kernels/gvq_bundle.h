// Codebook tiles of int8 values (gvqDdBb) with a row in each 32-bit lane, for one token, in
// integers: centroids are fetched by permutations of registers and multiplied with int8
// activations, which have a float32 scale for each 32 inputs:
//   y[r] = sum_units scale * input_scale * (sum_i value[i] x[i]),
// where scale, of a row in a unit of 32 inputs, is the tile's, or the tile's times a block scale's.
// No sum crosses lanes, and a unit costs one multiplication by scales for 16 rows.
//
// The rows of a strip are cut into bundles of 16, the last one filled up with zeros; or, with codes
// of 4 bits, two strips of 8 rows or four of 4 are a bundle, which has a tile for each. A bundle's
// part of a column group is one piece of memory, and pieces lie in the order of reading: bundle by
// bundle, in each the column groups in turn. A piece is
//   [block scales] 16 bytes for two of them: byte r has that of row r of the even one in its lower
//                  four bits, of the odd one in the upper; filled up to 64 bytes
//   [units]        gvq_bundle_unit_bytes() each
// Values come out in fours of a row: 4 / L coordinates of L neighboring codes. Instruction sets
// differ in L, lane_codes, as they look up bytes, words or words of 32 bits; gvq_bundle_input() is
// the order, in which activations are put. A unit's codes are registers of 64 bytes, in which a
// 32-bit lane belongs to a row (for_each_gvq_bundle_field() has the bits):
//   4 bits, L = 4  byte k of a lane: code 4 v + k in half v % 2 of its bits in register v / 2
//   6 bits, L = 4  the lower four bits are as those before, in two registers; the upper two are
//                  bits 2 v and 2 v + 1 of byte k in a third
//   6 bits, L = 2  word k of a lane: codes 2 j + k of j = 0..5 are bits 0-5 and 6-11 in register
//                  j / 2 of three; the last two are in what is left
//   8 bits, L = 2  word k of a lane: code 2 j + k in its half j % 2 of register j / 2
//   8 bits, L = 1  [codes, 16 rows]
// Included by files of an instruction set: plain types only.
#pragma once
#include <cstdint>

#include "kernels/int8_gemm.h"

namespace bitsmith {

inline constexpr int64_t kGvqBundleRows = 16;

// All bundles of a matrix.
struct GvqBundles {
  int code_bits;    // 4, 6 or 8
  int vector_size;  // D: 1, 2 or 4 with 4 bits, 2 with 6, 2 or 4 with 8
  int lane_codes;   // L
  int64_t column_groups;
  int64_t group_units;   // units of a column group
  int64_t scale_bytes;   // of a piece; 0: no block scales
  int scale_units_log2;  // log2 of the units that share a block scale
  int64_t
      strip_bundles;   // of a strip, but the last may have fewer; 1 where a bundle has more tiles
  int64_t lane_tiles;  // of a bundle: 1; 2 or 4 with codes of 4 bits and no block scales
  const uint8_t* pieces;  // on a 64-byte boundary
  // [strips, or bundles with more tiles, column_groups, lane_tiles]. Of a tile: its centroids over
  // the scale, plus 128: [D L / 4, 16, 64 or 256, 4 / L].
  const uint8_t* tables;
  const float* scales;  // likewise: of a tile [1], or with block scales [16]: its scale times each
};

// One token's activations, as of uniform_gemv.h in chunks of 32, in the order of
// gvq_bundle_input().
struct GvqBundleInput {
  const int8_t* codes;
  const float* scales;
  const int32_t* sums;
};

struct GvqBundleKernels {
  // L of codes that are best looked up so, 0 for others.
  int (*lane_codes)(int code_bits, int vector_size);
  // y[16 (t - first) + r] for the bundles first <= t < first + count. Integer sums are exact; units
  // are added in ascending order in one float32, sum + dot * (scale * input scale), by a fused
  // multiply-add where the level has it: the bits of int8_gemm.h.
  void (*multiply)(const GvqBundles& w, int64_t first, int64_t count, const GvqBundleInput& x,
                   float* y);
  // Lanes [begin, end) of a bundle as rows [row + begin, row + end) of an int8 panel in chunks of
  // 32, for its inputs [first, first + panel.inputs), whole column groups. Inputs are in the order
  // of gvq_bundle_input(); `row` may be negative.
  void (*decode_int8)(const GvqBundles& w, int64_t bundle, int64_t begin, int64_t end,
                      int64_t first, const Int8Panel& panel, int64_t row);
};

void fill_scalar(GvqBundleKernels& kernels);
void fill_avx2(GvqBundleKernels& kernels);
void fill_avxvnni(GvqBundleKernels& kernels);
void fill_avx512(GvqBundleKernels& kernels);

}  // namespace bitsmith
