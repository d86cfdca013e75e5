// Codebook tiles (gvqDdBb): one tile, the rows of a strip in one column group, which share a
// codebook. Exact weights and float32 activations. Included by files of an instruction set: plain
// types only.
#pragma once
#include <cstdint>

namespace bitsmith {

// Codebooks are padded with zeros to a multiple of this many centroids; 64 bytes past the last code
// are readable.
constexpr int64_t kCentroidPadding = 16;

struct GvqTile {
  const uint8_t* codes;  // [rows, row_bytes]
  int64_t row_bytes;
  int64_t codes_per_row;  // columns / D
  int code_bits;          // 4: two codes a byte, the first in the low half; 8; or 16
  const float* planes;    // centroids transposed [D, padded]
  int64_t padded;
  int vector_size;            // D: 1, 2 or 4
  const float* block_scales;  // row r's at r * scale_stride; null: none
  int64_t scale_stride;
  int64_t codes_per_scale;  // even where codes have 4 bits
};

struct GvqGemvKernels {
  // y[r] += sum over the tile's columns of x w[r], r in [0, rows); x is transposed too: input
  // p * D + t of the tile is x[t * x_stride + p]. Errors as in dense_gemv.h.
  void (*multiply)(const GvqTile& tile, int64_t rows, const float* x, int64_t x_stride, float* y);
};

void fill_scalar(GvqGemvKernels& kernels);
void fill_avx2(GvqGemvKernels& kernels);
void fill_avx512(GvqGemvKernels& kernels);
void fill_neon(GvqGemvKernels& kernels);

}  // namespace bitsmith
