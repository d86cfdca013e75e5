// The kernels over the registers I of AVX2, with or without AVX-VNNI; included once by each set's
// file, everything in an unnamed namespace so that no other file's copy is ever linked in its
// place.
#pragma once
#include "kernels/e8p_gemv.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {
namespace {

constexpr int64_t kUnit = 4;      // codes of a register, which share an input scale
constexpr int64_t kAhead = 2048;  // bytes of codes that are needed some hundred cycles later

int64_t place(int64_t input) { return input; }

inline int64_t eight_bytes(const int8_t* p) {
  int64_t bytes;
  __builtin_memcpy(&bytes, p, sizeof(bytes));
  return bytes;
}

inline __m256i load_bytes(const int8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// The table's entries [8] of four codes.
inline __m256i four_entries(const int8_t* table, int64_t a, int64_t b, int64_t c, int64_t d) {
  return _mm256_setr_epi64x(eight_bytes(table + 8 * a), eight_bytes(table + 8 * b),
                            eight_bytes(table + 8 * c), eight_bytes(table + 8 * d));
}

// Sums of four products.
template <typename I>
__m256i products(__m256i magnitudes, __m256i signs, __m256i inputs) {
  return I::add_byte_products(_mm256_setzero_si256(), magnitudes, _mm256_sign_epi8(inputs, signs));
}

// A row's last unit may reach into the next row's codes: their inputs are zeros.
template <typename Code, typename Dot>
void multiply_rows(const Code* codes, int64_t per_row, int64_t rows, const int8_t* inputs,
                   const float* scales, float unit, const Dot& dot, float* y) {
  for (int64_t r = 0; r < rows; ++r, codes += per_row) {
    __m256 sum = _mm256_setzero_ps();
    for (int64_t j = 0; j < per_row; j += kUnit) {
      __builtin_prefetch(reinterpret_cast<const char*>(codes + j) + kAhead);
      const __m256i total = dot(codes + j, load_bytes(inputs + 8 * j));
      sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(total), _mm256_set1_ps(scales[j / kUnit]), sum);
    }
    y[r] = unit * Simd::sum_lanes(sum);
  }
}

template <typename I>
void multiply(const E8pTables& tables, const uint16_t* codes, int64_t per_row, int64_t rows,
              const E8pInput& x, float* y) {
  const auto dot = [&](const uint16_t* c, __m256i inputs) {
    const __m256i levels =
        four_entries(tables.magnitudes, c[0] & 255, c[1] & 255, c[2] & 255, c[3] & 255);
    const __m256i signs = four_entries(tables.signs, c[0] >> 7, c[1] >> 7, c[2] >> 7, c[3] >> 7);
    return products<I>(_mm256_add_epi8(levels, _mm256_abs_epi8(signs)), signs, inputs);
  };
  multiply_rows(codes, per_row, rows, x.placed, x.scales, 0.25f, dot, y);
}

template <typename I>
void multiply_short(const E8pTables& tables, const uint8_t* codes, int64_t per_row, int64_t rows,
                    const E8pInput& x, float* y) {
  const auto dot = [&](const uint8_t* c, __m256i inputs) {
    const __m256i points = four_entries(tables.short_points, c[0], c[1], c[2], c[3]);
    return products<I>(_mm256_abs_epi8(points), points, inputs);
  };
  multiply_rows(codes, per_row, rows, x.codes, x.scales, 0.5f, dot, y);
}

template <typename I>
E8pGemvKernels make_e8p_gemv() {
  return {place, multiply<I>, multiply_short<I>};
}

}  // namespace
}  // namespace bitsmith
