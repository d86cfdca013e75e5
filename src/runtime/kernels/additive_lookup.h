// Additive codes of at most 8 bits (aqMxBgG) by table lookup, for one token. For every group of G
// inputs and every codebook the 256 dot products of its vectors with those inputs are computed
// once; after that a code costs one byte lookup instead of G multiplications:
//   y[r] = scale[r] * sum_j sum_m table[j, m][code[r, j, m]].
//
// Tables hold 16-bit integers round(dot / step) + 32768, split into two planes of bytes so that 256
// entries are four vector registers: low[256], high[256]. Tables of `tile_groups` neighbouring
// groups (a tile, small enough for the first-level cache) share one step, because activations have
// outliers; step = max_j |x_j| * max_c |codebook[c]| / 32767 bounds every entry (Cauchy-Schwarz).
// A block of 64 rows looks up 64 codes at once; sums inside a tile are exact integers.
// Included by files compiled for AVX: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

inline constexpr int64_t kLookupRows = 64;      // rows of a block
inline constexpr int64_t kLookupEntries = 256;  // smaller codebooks are padded with zero vectors
inline constexpr int64_t kLookupTable = 2 * kLookupEntries;  // bytes: two planes
inline constexpr int64_t kLookupTile = 32;  // most tables in a tile: 16 KiB, sums in 16 bits

struct LookupLayout {
  int num_codebooks;  // M, 1..8
  int64_t in_group_size, groups;
  int64_t tile_groups;     // kLookupTile / M; the last tile may be shorter
  const uint8_t* codes;    // [blocks, groups, M, 64]; row r of a block is byte lookup_byte(r)
  const float* codebooks;  // [M, G, 256]; vector e is at place lookup_place(e)
  const float* scales;     // [blocks * 64], zero past the last row
  float largest_norm;      // of all codebook vectors
};

struct AdditiveLookupKernels {
  // tables [groups, M, 512] and steps [tiles] for the tiles first <= t < first + count.
  void (*build_tables)(const LookupLayout& w, const float* x, int64_t first, int64_t count,
                       uint8_t* tables, float* steps);
  // y[64 (b - first) + r] for the blocks first <= b < first + count. Against exact arithmetic each
  // lookup is wrong by at most about step / 2 * |scale|.
  void (*gemv)(const LookupLayout& w, const uint8_t* tables, const float* steps, int64_t first,
               int64_t count, float* y);
};

void fill_scalar(AdditiveLookupKernels& kernels);
void fill_avx512(AdditiveLookupKernels& kernels);

}  // namespace bitsmith
