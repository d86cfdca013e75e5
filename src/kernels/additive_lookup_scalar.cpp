#include <algorithm>
#include <cmath>

#include "kernels/additive_layout.h"
#include "kernels/additive_lookup.h"

namespace bitsmith {
namespace {

float build_tables(const LookupLayout& w, const float* x, int64_t set, uint8_t* tables) {
  const int64_t size = w.in_group_size, pairs = (size + 1) / 2;
  const int64_t begin = set * w.set_groups, end = std::min(begin + w.set_groups, w.groups);
  float largest = 0;
  for (int64_t j = begin; j < end; ++j) {
    float square = 0;
    for (int64_t i = j * size; i < (j + 1) * size; ++i) square += x[i] * x[i];
    largest = std::max(largest, square);
  }
  const float norm = std::sqrt(largest), inverse = norm > 0 ? kLookupNorm / norm : 0;
  for (int64_t j = begin; j < end; ++j) {
    for (int m = 0; m < w.num_codebooks; ++m, tables += kLookupTable) {
      for (int64_t e = 0; e < kLookupEntries; ++e) {
        int32_t dot = 0;
        for (int64_t i = 0; i < size; ++i) {
          const int64_t pair =
              (m * pairs + i / 2) * kLookupEntries + lookup_place(LookupForm::planes, e);
          dot += static_cast<int32_t>(std::nearbyint(x[j * size + i] * inverse)) *
                 w.codebooks[2 * pair + i % 2];
        }
        const uint32_t entry = (static_cast<uint32_t>(dot) + 0x80008000u) >> 16;
        tables[e] = static_cast<uint8_t>(entry & 255);
        tables[kLookupEntries + e] = static_cast<uint8_t>(entry >> 8);
      }
    }
  }
  return norm / kLookupNorm * w.codebook_step * 65536;
}

void add_lookups(const LookupLayout& w, int64_t set, const uint8_t* tables, float step,
                 float* sums) {
  const int64_t begin = set * w.set_groups, end = std::min(begin + w.set_groups, w.groups);
  const int64_t lookups = (end - begin) * w.num_codebooks;
  const uint8_t* codes = w.codes + begin * w.num_codebooks * w.bundles * kLookupRows;
  for (int64_t row = 0; row < w.bundles * kLookupRows; ++row) {
    const LookupPlace place = lookup_codes(row, w.bundles, lookups);
    int32_t sum = 0;
    for (int64_t k = 0; k < lookups; ++k) {
      const uint8_t* table = tables + k * kLookupTable;
      const uint8_t code = codes[place.first + k * place.stride];
      sum += table[code] + 256 * table[kLookupEntries + code] - kLookupZero;
    }
    sums[row] += step * static_cast<float>(sum);
  }
}

}  // namespace

void fill_scalar(AdditiveLookupKernels& kernels) {
  kernels = {false, LookupForm::planes, build_tables, add_lookups};
}

}  // namespace bitsmith
