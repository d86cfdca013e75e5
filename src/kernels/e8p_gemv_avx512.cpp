#include "kernels/e8p_gemv.h"
#include "kernels/simd_avx512.h"

namespace bitsmith {
namespace {

constexpr int64_t kAhead = 2048;  // bytes of codes that are needed some hundred cycles later

// Coordinates k and k + 4 of a block's 32 codes are neighbors: register k of four.
int64_t place(int64_t input) {
  const int64_t code = input / 8, coordinate = input % 8;
  return coordinate % 4 * 64 + 2 * code + coordinate / 4;
}

// The levels of 256 patterns in registers, looked up by the low bytes of 32 codes.
struct LevelTable {
  explicit LevelTable(const uint16_t* levels) {
    for (int i = 0; i < 8; ++i) part[i] = _mm512_load_si512(levels + 32 * i);
  }
  __m512i operator[](__m512i codes) const {
    const auto quarter = [&](int i) {
      return _mm512_permutex2var_epi16(part[2 * i], codes, part[2 * i + 1]);
    };
    const __mmask32 bit6 = _mm512_test_epi16_mask(codes, _mm512_set1_epi16(0x40));
    const __mmask32 bit7 = _mm512_test_epi16_mask(codes, _mm512_set1_epi16(0x80));
    const __m512i low = _mm512_mask_blend_epi16(bit6, quarter(0), quarter(1));
    const __m512i high = _mm512_mask_blend_epi16(bit6, quarter(2), quarter(3));
    return _mm512_mask_blend_epi16(bit7, low, high);
  }
  __m512i part[8];
};

// Of each code its eight signs, in both bytes of the word (the last one in the upper byte alone).
inline __m512i signs_of(__m512i codes) {
  // Bits 7..14 in the upper byte, folded to four bits of the same parity.
  const __m512i byte = _mm512_slli_epi16(codes, 1);
  const __m512i folded = _mm512_ternarylogic_epi32(byte, _mm512_srli_epi16(byte, 4),
                                                   _mm512_set1_epi16(0x0f00), 0x28);  // (a ^ b) & c
  const __m512i parities = _mm512_broadcast_i32x4(
      _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
  const __m512i last = _mm512_shuffle_epi8(parities, folded);
  const __m512i upper_bytes =
      _mm512_broadcast_i32x4(_mm_setr_epi8(1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15));
  return _mm512_ternarylogic_epi32(_mm512_set1_epi16(-0x8000), last,
                                   _mm512_shuffle_epi8(codes, upper_bytes), 0xca);  // a ? b : c
}

// 4 level + 2 of coordinates k and k + 4, in the two bytes of a word.
template <int k>
__m512i magnitudes(__m512i levels) {
  const __m512i at_bit_2 = k == 0   ? _mm512_slli_epi16(levels, 2)
                           : k == 1 ? levels
                                    : _mm512_srli_epi16(levels, k == 2 ? 2 : 4);
  return _mm512_ternarylogic_epi32(at_bit_2, _mm512_set1_epi16(0x0c0c), _mm512_set1_epi16(0x0202),
                                   0xea);  // a & b | c
}

template <int k>
__m512i add_products(__m512i dot, __m512i levels, __m512i signs, const int8_t* inputs) {
  const __mmask64 minus =
      _mm512_test_epi8_mask(signs, _mm512_set1_epi16(static_cast<int16_t>(0x1001 << k)));
  const __m512i x = _mm512_loadu_si512(inputs + 64 * k);
  const __m512i with_signs = _mm512_mask_sub_epi8(x, minus, _mm512_setzero_si512(), x);
  return _mm512_dpbusd_epi32(dot, magnitudes<k>(levels), with_signs);
}

// Lanes of two codes. What a row's last block reads of the next row's codes meets zeros.
void multiply(const E8pTables& tables, const uint16_t* codes, int64_t per_row, int64_t rows,
              const E8pInput& x, float* y) {
  const LevelTable levels_of(tables.levels);
  const __m512i scale_lanes = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  for (int64_t r = 0; r < rows; ++r, codes += per_row) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t j = 0; j < per_row; j += kE8pBlock) {
      __builtin_prefetch(reinterpret_cast<const char*>(codes + j) + kAhead);
      const __m512i c = _mm512_loadu_si512(codes + j);
      const __m512i levels = levels_of[c], signs = signs_of(c);
      const int8_t* inputs = x.placed + 8 * j;
      // The shifts: plus or minus the sum of the code's inputs.
      const __m512i sums = _mm512_loadu_si512(x.sums + j);
      const __m512i shifts =
          _mm512_mask_sub_epi16(sums, _mm512_movepi16_mask(c), _mm512_setzero_si512(), sums);
      __m512i dot = _mm512_dpwssd_epi32(_mm512_setzero_si512(), shifts, _mm512_set1_epi16(1));
      dot = add_products<0>(dot, levels, signs, inputs);
      dot = add_products<1>(dot, levels, signs, inputs);
      dot = add_products<2>(dot, levels, signs, inputs);
      dot = add_products<3>(dot, levels, signs, inputs);
      const __m512 scales = _mm512_permutexvar_ps(
          scale_lanes, _mm512_castps256_ps512(_mm256_loadu_ps(x.scales + j / 4)));
      sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scales, sum);
    }
    y[r] = 0.25f * Simd::sum_lanes(sum);
  }
}

}  // namespace

// Short points stay with AVX2: their 256 x 8 values do not fit the registers.
void fill_avx512(E8pGemvKernels& kernels) {
  kernels.place = place;
  kernels.multiply = multiply;
}

}  // namespace bitsmith
