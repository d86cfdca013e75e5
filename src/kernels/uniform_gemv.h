// Uniform codes (intBgG): w[r, i] = scale[r, g] * (code[r, i] - zero[r, g]), g = i / group_size.
// One token multiplies integers: activations become int8 with a float32 scale per 32 inputs, and
//   y[r] = sum_chunks scale[r, g] * input_scale[u] * (sum_i code q - zero sum_i q),
// where a chunk is the longest run of inputs (32, 16, 8 or 4) that always lies in one group.
//
// Layout: bundles of 16 rows; in a bundle, units of 32 inputs; a unit holds its B bits a code in
// fields of 8, or of 4, 2 and 1 bits (5 = 4 + 1), low bits first. A field of F bits is F vectors of
// 64 bytes: byte 4 r + k of vector v holds, F bits each from the lowest up, the inputs 4 (v 8/F +
// s) + k, s = 0 .. 8/F - 1, of row r. So four bytes of a row's codes meet four int8 inputs in one
// 32-bit lane per row, and no sum crosses lanes. Inputs past the end have zero activations; rows
// past the end have zero scales.
// Included by files of an instruction set: plain types only.
#pragma once
#include <cstdint>

#include "kernels/int8_gemm.h"

namespace bitsmith {

inline constexpr int64_t kUniformRows = 16;   // rows of a bundle
inline constexpr int64_t kUniformUnit = 32;   // inputs of a unit
inline constexpr int64_t kUniformField = 64;  // bytes of a bundle's unit for one bit of the codes

struct UniformBundles {
  int nbits;  // 1..8
  int chunk;  // 32, 16, 8 or 4; 0 when no such run fits and only decode_bundle works
  int64_t in_features, group_size;
  int64_t units, groups;   // per row: ceil(in_features / 32), in_features / group_size
  const uint8_t* codes;    // [bundles, units, nbits * 64], on 64-byte boundaries
  const uint16_t* scales;  // float16 [bundles, groups, 16]
  const uint8_t* zeros;    // [bundles, groups, 16], or null: `zero` everywhere
  int zero;                // 2^(nbits - 1)
};

// One token's activations: x[i] ~ scales[i / 32] * codes[i].
struct QuantizedInput {
  int8_t* codes;  // [units * 32], zero past the end, on a 64-byte boundary
  float* scales;  // [units]
  int32_t* sums;  // [units * 32 / chunk], sum of the codes of a chunk
};

struct UniformGemvKernels {
  // codes = round(x / scale), scale = max |x| of the unit / 127.
  void (*quantize)(const float* x, int64_t in_features, int chunk, const QuantizedInput& out);
  // y[16 (t - first) + r] for the bundles first <= t < first + count. Integer sums are exact; the
  // rest as in dense_gemv.h. Needs chunk > 0.
  void (*gemv)(const UniformBundles& w, int64_t first, int64_t count, const QuantizedInput& x,
               float* y);
  // panel[i * stride + r] = w[16 bundle + r, i], exactly rounded once.
  void (*decode_bundle)(const UniformBundles& w, int64_t bundle, float* panel, int64_t stride);
  // A bundle's inputs [first, first + panel.inputs), a multiple of 32 from a multiple of 32 on, as
  // rows [row, row + 16) of the panel, row 0 or 16: codes less their zero points, exactly.
  // panel.chunk is the bundles'. Needs chunk > 0, and B < 8 where there are zero points: else
  // codes less zero points are no int8 numbers.
  void (*decode_int8)(const UniformBundles& w, int64_t bundle, int64_t first,
                      const Int8Panel& panel, int64_t row);
};

void fill_scalar(UniformGemvKernels& kernels);
void fill_avx2(UniformGemvKernels& kernels);
void fill_avxvnni(UniformGemvKernels& kernels);
void fill_avx512(UniformGemvKernels& kernels);
void fill_neon(UniformGemvKernels& kernels);

}  // namespace bitsmith
