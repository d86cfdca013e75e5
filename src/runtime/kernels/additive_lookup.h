// Additive codes of at most 8 bits (aqMxBgG) by table lookup, for one token. For every group of G
// inputs and every codebook the 256 dot products of its vectors with those inputs are computed
// once; after that a code costs one byte lookup instead of G multiplications:
//   y[r] = scale[r] * sum_j sum_m table[j, m][code[r, j, m]].
//
// Groups are taken in tiles whose tables stay in the first-level cache: build a tile's tables, look
// up the tile's codes of all rows, go on. Tables hold 16-bit integers round(dot / step) + 32768,
// split into two planes of bytes so that 256 entries are four vector registers: low[256],
// high[256]. The tables of a tile share one step, short tiles because activations have outliers:
// step = max_j |x_j| * max_c |codebook[c]| / 32767 bounds every entry (Cauchy-Schwarz). Sums inside
// a tile are exact integers.
// Included by files compiled for AVX: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

inline constexpr int64_t kLookupRows = 64;      // rows of a block: as many as a register has bytes
inline constexpr int64_t kLookupEntries = 256;  // smaller codebooks are padded with zero vectors
inline constexpr int64_t kLookupTable = 2 * kLookupEntries;  // bytes: two planes
inline constexpr int64_t kLookupTile =
    16;  // most tables in a tile: 8 KiB; up to 256 could be summed

struct LookupLayout {
  int num_codebooks;  // M, 1..8
  int64_t in_group_size, groups, blocks;
  int64_t tile_groups;  // kLookupTile / M; the last tile may have fewer
  // [tiles][blocks, groups of the tile, M, 64]; row r of a block is byte lookup_byte(r).
  const uint8_t* codes;
  const float* codebooks;  // [M, G, 256]; vector e is at place lookup_place(e)
  float largest_norm;      // of all codebook vectors
};

struct AdditiveLookupKernels {
  // tables [groups of the tile, M, 512], on a 64-byte boundary; returns the step.
  float (*build_tables)(const LookupLayout& w, const float* x, int64_t tile, uint8_t* tables);
  // sums[64 b + r] += step * (sum of the tile's table entries), all blocks, without the scale.
  // Against exact arithmetic each lookup is wrong by at most about step / 2.
  void (*add_lookups)(const LookupLayout& w, int64_t tile, const uint8_t* tables, float step,
                      float* sums);
};

void fill_scalar(AdditiveLookupKernels& kernels);
void fill_avx512(AdditiveLookupKernels& kernels);

}  // namespace bitsmith
