// Many tokens at once in integers: weights decoded to int8 panels, activations rounded to int8.
//
// A panel holds 32 rows of the matrix over some inputs, fours of neighboring inputs together, so
// that a register has the same four inputs of many rows and no sum crosses lanes:
//   w[r, i] = scales[i / chunk, r] * codes[i / 4, r, i % 4].
// Activations are those of uniform_gemv.h, for several tokens: x[t, i] ~ scales[t, i / 32] *
// codes[t, i], |codes| <= 127.
// Included by files of an instruction set: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

inline constexpr int64_t kInt8Rows = 32;  // of a panel
inline constexpr int64_t kInt8Unit = 32;  // inputs whose activations share a scale

struct Int8Panel {
  int64_t inputs;  // a multiple of 32: what the matrix does not have meets activations of zero
  int chunk;       // neighboring inputs of a row that share a scale: 4, 8, 16 or 32
  int8_t* codes;   // [inputs / 4, 32, 4], on a 64-byte boundary
  float* scales;   // [inputs / chunk, 32], on a 64-byte boundary
};

// Of each token the panel's inputs, within rows of `stride` inputs (a multiple of 32).
struct Int8Inputs {
  const int8_t* codes;  // [tokens, stride]
  const float* scales;  // [tokens, stride / 32]
  const int32_t* sums;  // [tokens, stride / chunk], of the codes of a chunk
  int64_t stride;
};

struct Int8GemmKernels {
  // sums[t, r] += sum over the panel's inputs of x[t, i] * w[r, i]; sums [tokens, 32] on a 64-byte
  // boundary. A chunk's sum is an exact integer; chunks are added in ascending order in one
  // float32, sum + dot * (weight scale * input scale), by a fused multiply-add where the level has
  // it. So a sum depends neither on the other tokens nor on the other rows, and the bits are those
  // of uniform_gemv.h.
  void (*multiply)(const Int8Panel& w, const Int8Inputs& x, int64_t tokens, float* sums);
  // A panel's codes from `rows` <= 32 rows of int8 numbers, `stride` apart; `inputs` is a multiple
  // of 32. Rows that are missing become zeros.
  void (*pack)(const int8_t* w, int64_t rows, int64_t stride, int64_t inputs, int8_t* codes);
  // Of each of `units` runs of 32 numbers, place i gets what place order[i] < 32 had.
  void (*reorder)(int8_t* codes, int64_t units, const uint8_t* order);
};

void fill_scalar(Int8GemmKernels& kernels);
void fill_avx2(Int8GemmKernels& kernels);
void fill_avxvnni(Int8GemmKernels& kernels);
void fill_avx512(Int8GemmKernels& kernels);
void fill_avx512vbmi(Int8GemmKernels& kernels);
void fill_neon(Int8GemmKernels& kernels);

}  // namespace bitsmith
