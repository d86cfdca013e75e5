// The orders inside the layout of additive_lookup.h, which spare the vector kernels shuffles.
#pragma once
#include <cstdint>

#include "kernels/additive_lookup.h"

namespace bitsmith {

// Byte of a bundle that holds row r: even bytes are rows 0..31 and odd bytes rows 32..63, so that
// widening to 16 and then 32 bits gives rows in order.
constexpr int64_t lookup_byte(int64_t r) { return r % 32 * 2 + r / 32; }

// Where a row's codes lie in a table set: its k-th lookup is at first + k * stride.
struct LookupPlace {
  int64_t first, stride;
};
constexpr LookupPlace lookup_codes(int64_t row, int64_t bundles, int64_t lookups) {
  const int64_t bundle = row / kLookupRows, byte = lookup_byte(row % kLookupRows);
  const bool alone = bundle == bundles - 1 && bundle % 2 == 0;
  if (alone) return {bundle * lookups * kLookupRows + byte, kLookupRows};
  return {(bundle / 2 * lookups * 2 + bundle % 2) * kLookupRows + byte, 2 * kLookupRows};
}

// Place of centroid e: four registers of 16 lanes hold 64 centroids, so that joining the lanes'
// upper halves restores their order. Planes join words of registers 0 and 1, and of 2 and 3, then
// bytes of both; words join those of registers 0 and 1 to 32 centroids, those of 2 and 3 to the
// others.
constexpr int64_t lookup_place(LookupForm form, int64_t e) {
  constexpr int64_t kRegister[4] = {0, 2, 1, 3};
  const int64_t first = e / 64 * 64;
  if (form == LookupForm::words) return first + (e % 64 / 32 * 2 + e % 2) * 16 + e % 32 / 2;
  return first + kRegister[e % 4] * 16 + e % 64 / 4;
}

}  // namespace bitsmith
