// The two orders inside the layout of additive_lookup.h, which spare the vector kernels shuffles.
#pragma once
#include <cstdint>

namespace bitsmith {

// Byte of a block that holds row r: even bytes are rows 0..31 and odd bytes rows 32..63, so that
// widening to 16 and then 32 bits gives rows in order.
constexpr int64_t lookup_byte(int64_t r) { return r % 32 * 2 + r / 32; }

// Place of codebook vector e: within 64 vectors the 4 x 4 square of quadruples is transposed, which
// packing 32-bit lanes to bytes transposes back.
constexpr int64_t lookup_place(int64_t e) {
  const int64_t quadruple = e % 64 / 4;
  return e / 64 * 64 + (quadruple % 4 * 4 + quadruple / 4) * 4 + e % 4;
}

}  // namespace bitsmith
