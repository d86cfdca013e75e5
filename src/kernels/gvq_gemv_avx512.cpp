#include "kernels/gvq_gemv_impl.h"
#include "kernels/simd_avx512.h"

namespace bitsmith {
namespace {

struct Avx512 : Simd {
  // Codes [p, p + 16) of a row; p is a multiple of what keeps it on a byte.
  static __m512i load_codes(const GvqTile& tile, const uint8_t* row, int64_t p) {
    if (tile.code_bits == 4) {
      const __m128i packed = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + p / 2));
      const __m128i low = _mm_set1_epi8(15);
      const __m128i even = _mm_and_si128(packed, low);
      const __m128i odd = _mm_and_si128(_mm_srli_epi16(packed, 4), low);
      return _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(even, odd));
    }
    if (tile.code_bits == 8) {
      return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + p)));
    }
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * p)));
  }
};

// One coordinate of a codebook of 16 kTables centroids in registers; kTables 0: in memory.
template <int kTables>
struct Plane {
  explicit Plane(const float* values) : memory(values) {
    for (int i = 0; i < kTables; ++i) table[i] = _mm512_loadu_ps(values + 16 * i);
  }
  __m512 operator[](__m512i codes) const {
    if constexpr (kTables == 0) return _mm512_i32gather_ps(codes, memory, 4);
    if constexpr (kTables == 1) return _mm512_permutexvar_ps(codes, table[0]);
    if constexpr (kTables == 2) return _mm512_permutex2var_ps(table[0], codes, table[1]);
    if constexpr (kTables == 4) {
      const __mmask16 upper = _mm512_test_epi32_mask(codes, _mm512_set1_epi32(32));
      return _mm512_mask_blend_ps(upper, _mm512_permutex2var_ps(table[0], codes, table[1]),
                                  _mm512_permutex2var_ps(table[2], codes, table[3]));
    }
  }
  const float* memory;
  __m512 table[kTables > 0 ? kTables : 1];
};

void multiply(const GvqTile& tile, int64_t rows, const float* x, int64_t x_stride, float* y) {
  const auto kernel = tile.padded <= 16   ? GvqKernel<Avx512, Plane<1>>::multiply
                      : tile.padded <= 32 ? GvqKernel<Avx512, Plane<2>>::multiply
                      : tile.padded == 64 ? GvqKernel<Avx512, Plane<4>>::multiply
                                          : GvqKernel<Avx512, Plane<0>>::multiply;
  kernel(tile, rows, x, x_stride, y);
}

}  // namespace

void fill_avx512(GvqGemvKernels& kernels) { kernels = {multiply}; }

}  // namespace bitsmith
