// Lattice codes (e8p, e8p3, e8p4; format/kinds/e8_lattice.h) for one token, in integers: the point
// of a code times int8 activations, which have a float32 scale for each 32 inputs.
//
// Four times a point of E8P is, in coordinate i, sign_i (4 level_i + 2) + shift: level 0, 1 or 2 by
// the pattern (bits 0..7 of the code), the signs by bits 8..14 and, for the last coordinate, the
// parity of bits 7..14, the shift -1 where bit 15 is set, else +1.
// Included by files of an instruction set: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

inline constexpr int64_t kE8pBlock = 32;     // codes of a block
inline constexpr int64_t kE8pInputs = 256;   // inputs of a block
inline constexpr int64_t kE8pReadable = 64;  // bytes past the last code of a matrix

// The codebooks, as the levels want them.
struct E8pTables {
  const uint16_t* levels;  // [256 patterns]: level i in bits 2 i and 2 i + 1; on a 64-byte boundary
  const int8_t* magnitudes;    // [256 patterns, 8]: 4 level
  const int8_t* signs;         // [512, 8], by bits 7..15 of a code: sign (2 + sign shift)
  const int8_t* short_points;  // [256, 8]: twice the points of e8_short_points()
};

// One token's activations, in whole blocks; zeros past the end.
struct E8pInput {
  const int8_t* codes;   // [blocks, 256], in order
  const int8_t* placed;  // [blocks, 256]: input i of a block at place(i)
  const int16_t* sums;   // [blocks, 32]: of the eight inputs of each code
  const float* scales;   // [blocks, 8]: of 32 inputs each
};

struct E8pGemvKernels {
  // Where multiply() wants input i of a block.
  int64_t (*place)(int64_t input);
  // y[r] = sum of the points of row r times x; codes [rows, per_row]. Integer sums are exact; the
  // rest as in dense_gemv.h.
  void (*multiply)(const E8pTables& tables, const uint16_t* codes, int64_t per_row, int64_t rows,
                   const E8pInput& x, float* y);
  // The same with the points of e8_short_points().
  void (*multiply_short)(const E8pTables& tables, const uint8_t* codes, int64_t per_row,
                         int64_t rows, const E8pInput& x, float* y);
};

void fill_scalar(E8pGemvKernels& kernels);
void fill_avx2(E8pGemvKernels& kernels);
void fill_avxvnni(E8pGemvKernels& kernels);
void fill_avx512(E8pGemvKernels& kernels);
void fill_neon(E8pGemvKernels& kernels);

}  // namespace bitsmith
