#include "kernels/gvq_gemv_layout.h"

namespace bitsmith {
namespace {

void multiply(const GvqTile& tile, int64_t rows, const float* x, int64_t x_stride, float* y) {
  const int64_t run = tile.block_scales ? tile.codes_per_scale : tile.codes_per_row;
  for (int64_t r = 0; r < rows; ++r) {
    const uint8_t* row = tile.codes + r * tile.row_bytes;
    float sum = 0;
    for (int64_t begin = 0; begin < tile.codes_per_row; begin += run) {
      float part = 0;
      for (int64_t p = begin; p < begin + run; ++p) {
        const float* centroid = tile.planes + gvq_code(tile, row, p);
        for (int t = 0; t < tile.vector_size; ++t) {
          part += centroid[t * tile.padded] * x[t * x_stride + p];
        }
      }
      sum +=
          tile.block_scales ? tile.block_scales[r * tile.scale_stride + begin / run] * part : part;
    }
    y[r] += sum;
  }
}

}  // namespace

void fill_scalar(GvqGemvKernels& kernels) { kernels = {multiply}; }

}  // namespace bitsmith
