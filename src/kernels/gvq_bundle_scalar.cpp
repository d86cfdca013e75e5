#include <algorithm>

#include "kernels/gvq_bundle_layout.h"

namespace bitsmith {
namespace {

// What a bundle has in a column group.
struct Piece {
  const uint8_t* memory;
  const uint8_t* table;
  const float* scales;
};

Piece piece_at(const GvqBundles& w, int64_t bundle, int64_t column_group, int64_t row) {
  const int64_t tile = gvq_bundle_tile(w, bundle, column_group, row);
  return {w.pieces + (bundle * w.column_groups + column_group) * gvq_bundle_piece_bytes(w),
          w.tables + tile * gvq_bundle_table_bytes(w.code_bits, w.vector_size),
          w.scales + tile * (w.scale_bytes > 0 ? 16 : 1)};
}

// The value at place i of a row's unit.
int value_at(const GvqBundles& w, const Piece& piece, int64_t row, int64_t unit, int64_t i) {
  const int64_t input = gvq_bundle_input(w.lane_codes, w.vector_size, i);
  const uint8_t* codes =
      piece.memory + w.scale_bytes + unit * gvq_bundle_unit_bytes(w.code_bits, w.vector_size);
  const int code =
      load_gvq_bundle_code(codes, w.code_bits, w.lane_codes, row, input / w.vector_size);
  return piece.table[gvq_bundle_table_place(w.code_bits, w.lane_codes, code,
                                            input % w.vector_size)] -
         128;
}

int lane_codes(int, int) { return 0; }

void multiply(const GvqBundles& w, int64_t first, int64_t count, const GvqBundleInput& x,
              float* y) {
  for (int64_t bundle = first; bundle < first + count; ++bundle) {
    for (int64_t row = 0; row < kGvqBundleRows; ++row) {
      float sum = 0;
      for (int64_t g = 0; g < w.column_groups; ++g) {
        const Piece piece = piece_at(w, bundle, g, row);
        for (int64_t u = 0; u < w.group_units; ++u) {
          const int64_t unit = g * w.group_units + u;
          int32_t dot = 0;
          for (int64_t i = 0; i < kInt8Unit; ++i)
            dot += value_at(w, piece, row, u, i) * x.codes[unit * kInt8Unit + i];
          const float scale = gvq_bundle_scale(w, piece.memory, piece.scales, row, u);
          sum += static_cast<float>(dot) * (scale * x.scales[unit]);
        }
      }
      *y++ = sum;
    }
  }
}

void decode_int8(const GvqBundles& w, int64_t bundle, int64_t begin, int64_t end, int64_t first,
                 const Int8Panel& panel, int64_t row) {
  for (int64_t u = 0; u < panel.inputs / kInt8Unit; ++u) {
    const int64_t unit = first / kInt8Unit + u, in_group = unit % w.group_units;
    for (int64_t r = begin; r < end; ++r) {
      const Piece piece = piece_at(w, bundle, unit / w.group_units, r);
      for (int64_t i = 0; i < kInt8Unit; ++i) {
        panel.codes[(u * kInt8Unit + i / 4 * 4) * kInt8Rows + (row + r) * 4 + i % 4] =
            static_cast<int8_t>(value_at(w, piece, r, in_group, i));
      }
      panel.scales[u * kInt8Rows + row + r] =
          gvq_bundle_scale(w, piece.memory, piece.scales, r, in_group);
    }
  }
}

}  // namespace

void fill_scalar(GvqBundleKernels& kernels) { kernels = {lane_codes, multiply, decode_int8}; }

}  // namespace bitsmith
