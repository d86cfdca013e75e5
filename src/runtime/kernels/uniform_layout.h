// One code inside the layout of uniform_gemv.h, for packing and for the scalar kernels.
#pragma once
#include <cstdint>

#include "runtime/kernels/uniform_gemv.h"

namespace bitsmith {

// Calls f(byte, byte_shift, field_bits, code_shift) for every field of input i of row r of a unit:
// code bits [code_shift, code_shift + field_bits) are bits [byte_shift, ...) of unit[byte].
template <typename F>
void for_each_field(int nbits, int64_t r, int64_t i, const F& f) {
  const int64_t vector = i / 4, lane = 4 * r + i % 4;
  int done = 0;
  for (const int field : {8, 4, 2, 1}) {
    if (nbits - done < field) continue;
    const int64_t inputs = 8 / field;  // per byte
    f((done + vector / inputs) * kUniformField + lane, static_cast<int>(vector % inputs) * field,
      field, done);
    done += field;
  }
}

inline int load_code(const uint8_t* unit, int nbits, int64_t r, int64_t i) {
  int code = 0;
  for_each_field(nbits, r, i, [&](int64_t byte, int shift, int field, int code_shift) {
    code |= ((unit[byte] >> shift) & ((1 << field) - 1)) << code_shift;
  });
  return code;
}

// The unit's bits must be zero before.
inline void store_code(uint8_t* unit, int nbits, int64_t r, int64_t i, int code) {
  for_each_field(nbits, r, i, [&](int64_t byte, int shift, int field, int code_shift) {
    const int bits = (code >> code_shift) & ((1 << field) - 1);
    unit[byte] = static_cast<uint8_t>(unit[byte] | (bits << shift));
  });
}

}  // namespace bitsmith
