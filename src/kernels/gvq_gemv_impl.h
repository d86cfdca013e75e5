// The kernel over an instruction set's registers; included once by each set's file, everything in
// an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include <cstdint>

#include "kernels/gvq_gemv.h"

namespace bitsmith {
namespace {

// I: the registers, kLanes codes or floats each. Plane: one coordinate of a codebook, plane[codes].
template <typename I, typename Plane>
class GvqKernel {
 public:
  using Floats = typename I::Floats;

  static void multiply(const GvqTile& tile, int64_t rows, const float* x, int64_t x_stride,
                       float* y) {
    const float* c = tile.planes;
    const int64_t next = tile.padded;
    if (tile.vector_size == 1) {
      run(tile, rows, x, x_stride, y, Plane(c));
    } else if (tile.vector_size == 2) {
      run(tile, rows, x, x_stride, y, Plane(c), Plane(c + next));
    } else {
      run(tile, rows, x, x_stride, y, Plane(c), Plane(c + next), Plane(c + 2 * next),
          Plane(c + 3 * next));
    }
  }

 private:
  template <typename... Planes>
  static void run(const GvqTile& tile, int64_t rows, const float* x, int64_t x_stride, float* y,
                  const Planes&... planes) {
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* row = tile.codes + r * tile.row_bytes;
      Floats sum = I::zeros();
      if (!tile.block_scales) {
        sum = add_run(tile, row, 0, tile.codes_per_row, x, x_stride, sum, planes...);
      } else {
        const float* scale = tile.block_scales + r * tile.scale_stride;
        for (int64_t p = 0; p < tile.codes_per_row; p += tile.codes_per_scale) {
          const Floats part =
              add_run(tile, row, p, p + tile.codes_per_scale, x, x_stride, I::zeros(), planes...);
          sum = I::multiply_add(part, I::broadcast(*scale++), sum);
        }
      }
      y[r] += I::sum_lanes(sum);
    }
  }

  // Codes [begin, end): what lies beyond the end meets zeros.
  template <typename... Planes>
  static Floats add_run(const GvqTile& tile, const uint8_t* row, int64_t begin, int64_t end,
                        const float* x, int64_t x_stride, Floats sum, const Planes&... planes) {
    int64_t p = begin;
    for (; p + I::kLanes <= end; p += I::kLanes) {
      const auto codes = I::load_codes(tile, row, p);
      const float* from = x + p;
      ((sum = I::multiply_add(planes[codes], I::load(from), sum), from += x_stride), ...);
    }
    if (p == end) return sum;
    const auto codes = I::keep(I::load_codes(tile, row, p), I::first_lanes(end - p));
    const float* from = x + p;
    ((sum = I::multiply_add(planes[codes], I::load_first(from, end - p), sum), from += x_stride),
     ...);
    return sum;
  }
};

}  // namespace
}  // namespace bitsmith
