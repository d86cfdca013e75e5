#include <algorithm>
#include <cstdlib>

#include "kernels/e8p_gemv.h"

namespace bitsmith {
namespace {

constexpr int64_t kSize = 8, kUnit = 4;  // inputs of a code; codes that share an input scale

// y[r] = unit * sum over the row's codes of dot(code, its inputs), in integers for each unit.
template <typename Code, typename Dot>
void multiply_rows(const Code* codes, int64_t per_row, int64_t rows, const int8_t* inputs,
                   const float* scales, float unit, const Dot& dot, float* y) {
  for (int64_t r = 0; r < rows; ++r, codes += per_row) {
    float sum = 0;
    for (int64_t first = 0; first < per_row; first += kUnit) {
      int32_t total = 0;
      for (int64_t j = first; j < std::min(first + kUnit, per_row); ++j) {
        total += dot(codes[j], inputs + j * kSize);
      }
      sum += scales[first / kUnit] * static_cast<float>(total);
    }
    y[r] = unit * sum;
  }
}

int64_t place(int64_t input) { return input; }

void multiply(const E8pTables& tables, const uint16_t* codes, int64_t per_row, int64_t rows,
              const E8pInput& x, float* y) {
  const auto dot = [&](uint16_t code, const int8_t* inputs) {
    const int8_t* magnitudes = tables.magnitudes + (code & 255) * kSize;
    const int8_t* signs = tables.signs + (code >> 7) * kSize;
    int32_t sum = 0;
    for (int64_t d = 0; d < kSize; ++d) {
      const int magnitude = magnitudes[d] + std::abs(signs[d]);  // of four times the point
      sum += (signs[d] < 0 ? -magnitude : magnitude) * inputs[d];
    }
    return sum;
  };
  multiply_rows(codes, per_row, rows, x.placed, x.scales, 0.25f, dot, y);
}

void multiply_short(const E8pTables& tables, const uint8_t* codes, int64_t per_row, int64_t rows,
                    const E8pInput& x, float* y) {
  const auto dot = [&](uint8_t code, const int8_t* inputs) {
    const int8_t* point = tables.short_points + code * kSize;
    int32_t sum = 0;
    for (int64_t d = 0; d < kSize; ++d) sum += point[d] * inputs[d];
    return sum;
  };
  multiply_rows(codes, per_row, rows, x.codes, x.scales, 0.5f, dot, y);
}

}  // namespace

void fill_scalar(E8pGemvKernels& kernels) { kernels = {place, multiply, multiply_short}; }

}  // namespace bitsmith
