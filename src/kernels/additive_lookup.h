// Additive codes of at most 8 bits (aqMxBgG) by table lookup, for one token. For every group of G
// inputs and every codebook the 256 dot products of its centroids with those inputs are computed
// once; after that a code costs one byte lookup instead of G multiplications:
//   y[r] = scale[r] * sum_j sum_m table[j, m][code[r, j, m]].
//
// Groups are taken in table sets whose tables stay in the first-level cache: build a table set's
// tables, look up the table set's codes of all rows, go on. Tables are built in integers: codebooks
// are 16-bit, scaled so that no centroid is longer than kLookupNorm, the inputs of a table set
// likewise (by the longest of its groups: short table sets, because activations have outliers), so
// that their dot product stays within 2^30 (Cauchy-Schwarz). An entry is its upper half, (dot +
// 2^31 + 2^15) >> 16, kLookupMost from kLookupZero at most. Sums of entries inside a table set are
// exact.
//
// Instruction sets permute bytes or words, and have their tables accordingly (LookupForm): two
// planes of bytes, low[256] and high[256], or int16 words, [256], from which kLookupZero is taken
// already.
// Included by files of an instruction set: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

inline constexpr int64_t kLookupRows = 64;      // rows of a bundle: as many as a register has bytes
inline constexpr int64_t kLookupEntries = 256;  // smaller codebooks are padded with zero centroids
inline constexpr int64_t kLookupTable = 2 * kLookupEntries;  // bytes: two planes
inline constexpr int64_t kLookupSet =
    16;  // most tables in a table set: 8 KiB; up to 256 could be summed

inline constexpr float kLookupNorm = 32700;  // rounding to integers leaves it below 2^15
inline constexpr int kLookupZero = 32768;    // the entry of dot product 0
// With G <= 64 a rounded vector is no longer than kLookupNorm + sqrt(G) / 2 and a little: two
// entries less kLookupZero have a sum of 16 bits.
inline constexpr int kLookupMost = 16321;

enum class LookupForm { planes, words };

struct LookupLayout {
  int num_codebooks;  // M, 1..8
  int64_t in_group_size, groups, bundles;
  int64_t set_groups;  // kLookupSet / M; the last table set may have fewer
  // [table sets][pairs of bundles, groups of the table set, M, 2, 64], which is the order of
  // reading; an odd last bundle of a table set is [groups of the table set, M, 64]. Row r of a
  // bundle is byte lookup_byte(r).
  const uint8_t* codes;
  // [M, ceil(G / 2), 256, 2]: inputs in pairs, zero past G; centroid e is at place
  // lookup_place(form, e).
  const int16_t* codebooks;
  float codebook_step;  // real value of 1 in `codebooks`
};

struct AdditiveLookupKernels {
  // Whether codes are looked up in registers, which is faster than AdditiveGatherKernels.
  bool in_registers;
  LookupForm form;
  // tables [groups of the table set, M, 512], on a 64-byte boundary; returns the real value of 1 in
  // them. Against exact arithmetic an entry is wrong by little more than 1/2.
  float (*build_tables)(const LookupLayout& w, const float* x, int64_t set, uint8_t* tables);
  // sums[64 b + r] += step * (sum of the table set's entries), all bundles, without the scale.
  void (*add_lookups)(const LookupLayout& w, int64_t set, const uint8_t* tables, float step,
                      float* sums);
};

void fill_scalar(AdditiveLookupKernels& kernels);
void fill_avx512(AdditiveLookupKernels& kernels);
void fill_avx512vbmi(AdditiveLookupKernels& kernels);
void fill_neon(AdditiveLookupKernels& kernels);

}  // namespace bitsmith
