// Codebook tiles of int8 values with at most 256 centroids (gvqDdBb), for one token, in
// integers: a code's centroid is fetched by a byte permutation, a coordinate at a time, and
// multiplied with int8 activations, which have a float32 scale for each 32 inputs:
//   y[r] = sum over tiles of scale * sum_runs input_scale * block_scale * (sum_i value[i] x[i]).
//
// A tile, the rows of a strip in one column group, shares a codebook. Its rows are cut into
// packets of 64 codes; position 4 l + k of a packet belongs to lane l, whose four codes (and their
// D inputs each) never cross a run of 32 inputs or a block scale. A row of codes is, packet after
// packet:
//   2 bits  16 bytes, byte j: positions j, 16 + j, 32 + j, 48 + j from the low bits up
//   4 bits  32 bytes, byte j: positions j, 32 + j
//   6 bits  the 16 bytes of bits 4 and 5, then the 32 bytes of bits 0 to 3
//   8 bits  64 bytes
// A position's place in the row is gvq_place(); with 4 and 6 bits neighboring places share a
// byte, so that a short last packet ends early: after the bytes of its codes.
// Included by files of an instruction set: plain types only.
#pragma once
#include <cstdint>

#include "kernels/int8_gemm.h"

namespace bitsmith {

inline constexpr int64_t kGvqPacket = 64;  // codes of a packet
inline constexpr int64_t kGvqLanes = 16;   // lanes of a packet, four codes each

// Rows of a strip, in all column groups. What is said to be of a tile has one for each column
// group.
struct GvqLookupTiles {
  int64_t column_groups;
  const uint8_t* codes;  // [column_groups, rows, row_bytes]; 64 bytes past the last are readable
  int64_t row_bytes;
  int64_t column_group_bytes;  // from a row's codes in one column group to those in the next
  int code_bits;               // 2, 4, 6 or 8
  int vector_size;             // D: 1, 2 or 4
  int64_t packets;             // of a row
  // Of a tile [D, 16 (2 and 4 bits), 64 or 256]: centroids over the scale, transposed.
  const int8_t* tables;
  const float* scales;  // of a tile
  // Null without block scales. Of packet b, lane l of row r in column group g: the tile's
  // scale_values[n & 15], n the four bytes from block_scales + r * scale_row_bytes +
  // g * scale_column_group_bytes + scale_bytes[b] on, little end first, shifted right by
  // scale_shifts[b, l].
  const uint8_t* block_scales;
  int64_t scale_row_bytes, scale_column_group_bytes;
  const int32_t* scale_bytes;   // [packets]
  const int32_t* scale_shifts;  // [packets, 16]
  const float* scale_values;    // of a tile [16]
};

// Some rows of a strip, from the first of `tiles` on.
struct GvqStripRows {
  GvqLookupTiles tiles;
  int64_t rows;
};

// One token's activations in the order of the packets; zeros past the end of a column group.
struct GvqLookupInput {
  const int8_t* codes;     // [column_groups, packets, D, 64], on a 64-byte boundary
  const float* scales;     // [column_groups, packets, 16]
  const int32_t* offsets;  // [column_groups, packets, 16]: -128 times the sum of a lane's codes
};

struct GvqLookupKernels {
  int most_code_bits;  // of tiles that multiply() can take
  // sums[r, l] += what lane l of row r adds to y[r], r in [0, rows). Integer sums are exact; the
  // rest as in dense_gemv.h.
  void (*multiply)(const GvqLookupTiles& tiles, int64_t rows, const GvqLookupInput& x, float* sums);
  // The codes of an int8 panel: the rows of `count` strips one after another, at most 32, with
  // `places` codes in each column group. Values are as the tables have them, inputs in the order of
  // gvq_panel_input(). Rows that are missing become anything. Whole runs of that order must fit:
  // places is a multiple of 8, or of 4 where codes have 2 or 8 bits.
  void (*decode)(const GvqStripRows* strips, int64_t count, int64_t places, int8_t* codes);
  // scales[r * stride + g * blocks + b] = the tile's scale times that of scale block b, of `blocks`
  // in each column group g, of row r. Needs block scales.
  void (*decode_scales)(const GvqLookupTiles& tiles, int64_t rows, int64_t blocks, float* scales,
                        int64_t stride);
};

void fill_scalar(GvqLookupKernels& kernels);
void fill_avx2(GvqLookupKernels& kernels);
void fill_avxvnni(GvqLookupKernels& kernels);
void fill_avx512(GvqLookupKernels& kernels);
void fill_avx512vbmi(GvqLookupKernels& kernels);
void fill_neon(GvqLookupKernels& kernels);

}  // namespace bitsmith
