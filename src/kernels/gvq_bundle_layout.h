// Places inside the layout of gvq_bundle.h, for packing and for the scalar kernel.
#pragma once
#include <cstdint>

#include "kernels/gvq_bundle.h"

namespace bitsmith {

constexpr int64_t gvq_bundle_unit_bytes(int code_bits, int64_t vector_size) {
  return kGvqBundleRows * kInt8Unit / vector_size * code_bits / 8;
}

constexpr int64_t gvq_bundle_scale_bytes(int64_t scales) { return (scales + 7) / 8 * 64; }

constexpr int64_t gvq_bundle_piece_bytes(const GvqBundles& w) {
  return w.scale_bytes + w.group_units * gvq_bundle_unit_bytes(w.code_bits, w.vector_size);
}

constexpr int64_t gvq_bundle_table_bytes(int code_bits, int64_t vector_size) {
  return vector_size << code_bits;
}

// The place of a row's tile among all.
constexpr int64_t gvq_bundle_tile(const GvqBundles& w, int64_t bundle, int64_t column_group,
                                  int64_t row) {
  const int64_t of_row = row * w.lane_tiles / kGvqBundleRows;
  return (bundle / w.strip_bundles * w.column_groups + column_group) * w.lane_tiles + of_row;
}

// The place of a coordinate of a centroid in a tile's table.
constexpr int64_t gvq_bundle_table_place(int code_bits, int lane_codes, int64_t code,
                                         int64_t coordinate) {
  const int64_t each = 4 / lane_codes;  // coordinates of a code that come out together
  return ((coordinate / each << code_bits) + code) * each + coordinate % each;
}

// The input at place i of a unit.
constexpr int64_t gvq_bundle_input(int lane_codes, int64_t vector_size, int64_t i) {
  const int64_t run = lane_codes * vector_size, four = i % run / 4, each = 4 / lane_codes;
  const int64_t code = i % 4 / each, coordinate = four * each + i % each;
  return i / run * run + code * vector_size + coordinate;
}

// Calls f(word, shift, bits, code_shift): bits [code_shift, code_shift + bits) of a row's code in a
// unit are bits [shift, ...) of the unit's 16-bit word, in little-endian order.
template <typename F>
void for_each_gvq_bundle_field(int code_bits, int lane_codes, int64_t row, int64_t code,
                               const F& f) {
  constexpr int64_t kWords = 2 * kGvqBundleRows;  // of a register
  const auto shift_of = [](int64_t bits) { return static_cast<int>(bits); };
  if (lane_codes == 1) return f(code * 8 + row / 2, shift_of(row % 2 * 8), 8, 0);
  const int64_t v = code / lane_codes, k = code % lane_codes;
  if (lane_codes == 4) {
    const int64_t word = 2 * row + k / 2, byte = k % 2 * 8;
    f(v / 2 * kWords + word, shift_of(byte + v % 2 * 4), 4, 0);
    if (code_bits == 6) f(2 * kWords + word, shift_of(byte + 2 * v), 2, 4);
    return;
  }
  const int64_t word = 2 * row + k;
  if (code_bits == 8) return f(v / 2 * kWords + word, shift_of(v % 2 * 8), 8, 0);
  if (v < 6) return f(v / 2 * kWords + word, shift_of(v % 2 * 6), 6, 0);
  f((v - 6) * 2 * kWords + word, 12, 4, 0);
  f(kWords + word, shift_of(12 + (v - 6) * 2), 2, 4);
}

inline int load_gvq_bundle_code(const uint8_t* unit, int code_bits, int lane_codes, int64_t row,
                                int64_t code) {
  int value = 0;
  for_each_gvq_bundle_field(code_bits, lane_codes, row, code,
                            [&](int64_t word, int shift, int bits, int at) {
                              const int both = unit[2 * word] | unit[2 * word + 1] << 8;
                              value |= (both >> shift & ((1 << bits) - 1)) << at;
                            });
  return value;
}

// The unit's bits must be zero before.
inline void store_gvq_bundle_code(uint8_t* unit, int code_bits, int lane_codes, int64_t row,
                                  int64_t code, int value) {
  for_each_gvq_bundle_field(
      code_bits, lane_codes, row, code, [&](int64_t word, int shift, int bits, int at) {
        const int field = (value >> at & ((1 << bits) - 1)) << shift;
        unit[2 * word] = static_cast<uint8_t>(unit[2 * word] | (field & 255));
        unit[2 * word + 1] = static_cast<uint8_t>(unit[2 * word + 1] | field >> 8);
      });
}

// The scale of a row in a unit of a column group; `piece` and `scales` are of its tile.
inline float gvq_bundle_scale(const GvqBundles& w, const uint8_t* piece, const float* scales,
                              int64_t row, int64_t unit) {
  if (w.scale_bytes == 0) return scales[0];
  const int64_t i = unit >> w.scale_units_log2;
  return scales[piece[i / 2 * kGvqBundleRows + row] >> (i % 2 * 4) & 15];
}

}  // namespace bitsmith
