// One code inside the layout of gvq_gemv.h.
#pragma once
#include <cstdint>

#include "kernels/gvq_gemv.h"

namespace bitsmith {

// Code p of a row.
inline int gvq_code(const GvqTile& tile, const uint8_t* row, int64_t p) {
  if (tile.code_bits == 4) return row[p / 2] >> (p % 2 * 4) & 15;
  if (tile.code_bits == 8) return row[p];
  return row[2 * p] | row[2 * p + 1] << 8;
}

}  // namespace bitsmith
