// Additive codes of at most 8 bits (aqMxBgG) by table lookup, for one token. For every group of G
// inputs and every codebook the 256 dot products of its centroids with those inputs are computed
// once; after that a code costs one byte lookup instead of G multiplications:
//   y[r] = scale[r] * sum_j sum_m table[j, m][code[r, j, m]].
//
// Groups are taken in tiles whose tables stay in the first-level cache: build a tile's tables, look
// up the tile's codes of all rows, go on. Tables are built in integers: codebooks are 16-bit,
// scaled so that no centroid is longer than kLookupNorm, the inputs of a tile likewise (by the
// longest of its groups: short tiles, because activations have outliers), so that their dot
// product stays within 2^30 (Cauchy-Schwarz). An entry is its upper half, (dot + 2^31 + 2^15) >>
// 16, and lies in two planes of bytes so that 256 entries are four vector registers: low[256],
// high[256]. Sums of entries inside a tile are exact.
// Included by files compiled for AVX: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

inline constexpr int64_t kLookupRows = 64;      // rows of a block: as many as a register has bytes
inline constexpr int64_t kLookupEntries = 256;  // smaller codebooks are padded with zero centroids
inline constexpr int64_t kLookupTable = 2 * kLookupEntries;  // bytes: two planes
inline constexpr int64_t kLookupTile =
    16;  // most tables in a tile: 8 KiB; up to 256 could be summed

inline constexpr float kLookupNorm = 32700;  // rounding to integers leaves it below 2^15
inline constexpr int kLookupZero = 32768;    // the entry of dot product 0

struct LookupLayout {
  int num_codebooks;  // M, 1..8
  int64_t in_group_size, groups, blocks;
  int64_t tile_groups;  // kLookupTile / M; the last tile may have fewer
  // [tiles][pairs of blocks, groups of the tile, M, 2, 64], which is the order of reading; an odd
  // last block of a tile is [groups of the tile, M, 64]. Row r of a block is byte lookup_byte(r).
  const uint8_t* codes;
  // [M, ceil(G / 2), 256, 2]: inputs in pairs, zero past G; centroid e is at place lookup_place(e).
  const int16_t* codebooks;
  float codebook_step;  // real value of 1 in `codebooks`
};

struct AdditiveLookupKernels {
  // tables [groups of the tile, M, 512], on a 64-byte boundary; returns the real value of 1 in
  // them. Against exact arithmetic an entry is wrong by little more than 1/2.
  float (*build_tables)(const LookupLayout& w, const float* x, int64_t tile, uint8_t* tables);
  // sums[64 b + r] += step * (sum of the tile's entries), all blocks, without the scale.
  void (*add_lookups)(const LookupLayout& w, int64_t tile, const uint8_t* tables, float step,
                      float* sums);
};

void fill_scalar(AdditiveLookupKernels& kernels);
void fill_avx512(AdditiveLookupKernels& kernels);

}  // namespace bitsmith
