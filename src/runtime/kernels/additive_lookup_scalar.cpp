#include <algorithm>
#include <cmath>

#include "runtime/kernels/additive_layout.h"
#include "runtime/kernels/additive_lookup.h"

namespace bitsmith {
namespace {

void build_tables(const LookupLayout& w, const float* x, int64_t first, int64_t count,
                  uint8_t* tables, float* steps) {
  for (int64_t tile = first; tile < first + count; ++tile) {
    const int64_t begin = tile * w.tile_groups, end = std::min(begin + w.tile_groups, w.groups);
    float largest = 0;
    for (int64_t j = begin; j < end; ++j) {
      float square = 0;
      for (int64_t i = 0; i < w.in_group_size; ++i) {
        square += x[j * w.in_group_size + i] * x[j * w.in_group_size + i];
      }
      largest = std::max(largest, square);
    }
    const float bound = std::sqrt(largest) * w.largest_norm;
    steps[tile] = bound / 32767;
    const float inverse = bound > 0 ? 32767 / bound : 0;
    for (int64_t j = begin; j < end; ++j) {
      for (int m = 0; m < w.num_codebooks; ++m) {
        uint8_t* table = tables + (j * w.num_codebooks + m) * kLookupTable;
        for (int64_t e = 0; e < kLookupEntries; ++e) {
          float dot = 0;
          for (int64_t i = 0; i < w.in_group_size; ++i) {
            const float* row = w.codebooks + (m * w.in_group_size + i) * kLookupEntries;
            dot += x[j * w.in_group_size + i] * row[lookup_place(e)];
          }
          const float level = std::clamp(std::nearbyint(dot * inverse), -32768.0f, 32767.0f);
          const int value = static_cast<int>(level) + 32768;
          table[e] = static_cast<uint8_t>(value & 255);
          table[kLookupEntries + e] = static_cast<uint8_t>(value >> 8);
        }
      }
    }
  }
}

void gemv(const LookupLayout& w, const uint8_t* tables, const float* steps, int64_t first,
          int64_t count, float* y) {
  const int64_t lookups = w.groups * w.num_codebooks,
                tile_lookups = w.tile_groups * w.num_codebooks;
  for (int64_t row = first * kLookupRows; row < (first + count) * kLookupRows; ++row) {
    const uint8_t* codes =
        w.codes + row / kLookupRows * lookups * kLookupRows + lookup_byte(row % kLookupRows);
    float sum = 0;
    for (int64_t begin = 0; begin < lookups; begin += tile_lookups) {
      const int64_t end = std::min(begin + tile_lookups, lookups);
      int32_t tile_sum = 0;
      for (int64_t k = begin; k < end; ++k) {
        const uint8_t* table = tables + k * kLookupTable;
        const uint8_t code = codes[k * kLookupRows];
        tile_sum += table[code] + 256 * table[kLookupEntries + code] - 32768;
      }
      sum += steps[begin / tile_lookups] * static_cast<float>(tile_sum);
    }
    y[row - first * kLookupRows] = w.scales[row] * sum;
  }
}

}  // namespace

void fill_scalar(AdditiveLookupKernels& kernels) { kernels = {build_tables, gemv}; }

}  // namespace bitsmith
