// One code inside the layout of uniform_gemv.h, for packing and for the scalar kernels.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/uniform_gemv.h"

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

// Where the bits of input i of row 0 of a unit go; row r's are 4 r bytes further.
struct FieldPlace {
  int byte, shift, mask, code_shift;
};
inline std::vector<FieldPlace> field_places(int nbits, int64_t i) {
  std::vector<FieldPlace> places;
  for_each_field(nbits, 0, i, [&](int64_t byte, int shift, int field, int code_shift) {
    places.push_back({static_cast<int>(byte), shift, (1 << field) - 1, code_shift});
  });
  return places;
}

// The unit's bits must be zero before.
inline void store_code(uint8_t* unit, const std::vector<FieldPlace>& places, int64_t r, int code) {
  for (const FieldPlace& place : places) {
    uint8_t& byte = unit[place.byte + 4 * r];
    byte = static_cast<uint8_t>(byte | (code >> place.code_shift & place.mask) << place.shift);
  }
}

}  // namespace bitsmith
