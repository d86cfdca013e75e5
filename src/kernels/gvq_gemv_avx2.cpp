#include "kernels/gvq_gemv_impl.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {
namespace {

struct Avx2 : Simd {
  // Codes [p, p + 8) of a row; p is a multiple of what keeps it on a byte.
  static __m256i load_codes(const GvqTile& tile, const uint8_t* row, int64_t p) {
    if (tile.code_bits == 4) {
      const __m128i packed = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + p / 2));
      const __m128i low = _mm_set1_epi8(15);
      const __m128i even = _mm_and_si128(packed, low);
      const __m128i odd = _mm_and_si128(_mm_srli_epi16(packed, 4), low);
      return _mm256_cvtepu8_epi32(_mm_unpacklo_epi8(even, odd));
    }
    if (tile.code_bits == 8) {
      return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + p)));
    }
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 2 * p)));
  }
};

// One coordinate of a codebook: up to 16 centroids in two registers, or in memory.
template <bool kInRegisters>
struct Plane {
  explicit Plane(const float* values)
      : memory(values), low(_mm256_loadu_ps(values)), high(_mm256_loadu_ps(values + 8)) {}
  __m256 operator[](__m256i codes) const {
    if constexpr (!kInRegisters) return _mm256_i32gather_ps(memory, codes, 4);
    const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(codes, 28));  // bit 3 as the sign
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, codes),
                            _mm256_permutevar8x32_ps(high, codes), upper);
  }
  const float* memory;
  __m256 low, high;
};

void multiply(const GvqTile& tile, int64_t rows, const float* x, int64_t x_stride, float* y) {
  const auto kernel = tile.padded <= 16 ? GvqKernel<Avx2, Plane<true>>::multiply
                                        : GvqKernel<Avx2, Plane<false>>::multiply;
  kernel(tile, rows, x, x_stride, y);
}

}  // namespace

void fill_avx2(GvqGemvKernels& kernels) { kernels = {multiply}; }

}  // namespace bitsmith
