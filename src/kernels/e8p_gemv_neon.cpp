#include "kernels/e8p_gemv.h"
#include "kernels/simd_neon.h"

namespace bitsmith {
namespace {

constexpr int64_t kUnit = 4;      // codes that share an input scale: two registers
constexpr int64_t kAhead = 2048;  // bytes of codes that are needed some hundred cycles later

int64_t place(int64_t input) { return input; }

// The table's entries [8] of two codes.
inline int8x16_t two_entries(const int8_t* table, int64_t a, int64_t b) {
  return vcombine_s8(vld1_s8(table + 8 * a), vld1_s8(table + 8 * b));
}

// points(codes): the points of two codes. A row's last unit may reach into the next row's codes:
// their inputs are zeros.
template <typename Code, typename Points>
void multiply_rows(const Code* codes, int64_t per_row, int64_t rows, const int8_t* inputs,
                   const float* scales, float unit, const Points& points, float* y) {
  for (int64_t r = 0; r < rows; ++r, codes += per_row) {
    float32x4_t sum = vdupq_n_f32(0);
    for (int64_t j = 0; j < per_row; j += kUnit) {
      __builtin_prefetch(reinterpret_cast<const char*>(codes + j) + kAhead);
      const int8_t* x = inputs + 8 * j;
      int32x4_t dot = vdotq_s32(vdupq_n_s32(0), points(codes + j), vld1q_s8(x));
      dot = vdotq_s32(dot, points(codes + j + 2), vld1q_s8(x + 16));
      sum = vfmaq_n_f32(sum, vcvtq_f32_s32(dot), scales[j / kUnit]);
    }
    y[r] = unit * Simd::sum_lanes(sum);
  }
}

void multiply(const E8pTables& tables, const uint16_t* codes, int64_t per_row, int64_t rows,
              const E8pInput& x, float* y) {
  const auto points = [&](const uint16_t* c) {
    const int8x16_t levels = two_entries(tables.magnitudes, c[0] & 255, c[1] & 255);
    const int8x16_t signs = two_entries(tables.signs, c[0] >> 7, c[1] >> 7);
    const int8x16_t magnitudes = vaddq_s8(levels, vabsq_s8(signs));
    return vbslq_s8(vcltzq_s8(signs), vnegq_s8(magnitudes), magnitudes);
  };
  multiply_rows(codes, per_row, rows, x.placed, x.scales, 0.25f, points, y);
}

void multiply_short(const E8pTables& tables, const uint8_t* codes, int64_t per_row, int64_t rows,
                    const E8pInput& x, float* y) {
  const auto points = [&](const uint8_t* c) {
    return two_entries(tables.short_points, c[0], c[1]);
  };
  multiply_rows(codes, per_row, rows, x.codes, x.scales, 0.5f, points, y);
}

}  // namespace

void fill_neon(E8pGemvKernels& kernels) { kernels = {place, multiply, multiply_short}; }

}  // namespace bitsmith
