#include <immintrin.h>

#include "runtime/kernels/grouped_gemv.h"

namespace bitsmith {
namespace {

// Codes [p, p + 8) of a row; p is a multiple of what keeps it on a byte.
inline __m256i load_codes(const GroupedTile& tile, const uint8_t* row, int64_t p) {
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

inline __m256i lane_mask(int64_t lanes) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(lanes)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

inline float sum_lanes(__m256 v) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

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

template <int kSize, bool kInRegisters>
class Kernel {
 public:
  using P = Plane<kInRegisters>;
  static void multiply(const GroupedTile& tile, int64_t rows, const float* x, int64_t x_stride,
                       float* y) {
    const float* c = tile.planes;
    const int64_t next = tile.padded;
    if constexpr (kSize == 1) run(tile, rows, x, x_stride, y, P(c));
    if constexpr (kSize == 2) run(tile, rows, x, x_stride, y, P(c), P(c + next));
    if constexpr (kSize == 4) {
      run(tile, rows, x, x_stride, y, P(c), P(c + next), P(c + 2 * next), P(c + 3 * next));
    }
  }

 private:
  template <typename... Planes>
  static void run(const GroupedTile& tile, int64_t rows, const float* x, int64_t x_stride, float* y,
                  const Planes&... planes) {
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* row = tile.codes + r * tile.row_bytes;
      __m256 sum = _mm256_setzero_ps();
      if (!tile.block_scales) {
        sum = add_run(tile, row, 0, tile.codes_per_row, x, x_stride, sum, planes...);
      } else {
        const float* scale = tile.block_scales + r * tile.scale_stride;
        for (int64_t p = 0; p < tile.codes_per_row; p += tile.codes_per_scale) {
          const __m256 part = add_run(tile, row, p, p + tile.codes_per_scale, x, x_stride,
                                      _mm256_setzero_ps(), planes...);
          sum = _mm256_fmadd_ps(part, _mm256_set1_ps(*scale++), sum);
        }
      }
      y[r] += sum_lanes(sum);
    }
  }

  // Codes [begin, end): what lies beyond the end meets zeros.
  template <typename... Planes>
  static __m256 add_run(const GroupedTile& tile, const uint8_t* row, int64_t begin, int64_t end,
                        const float* x, int64_t x_stride, __m256 sum, const Planes&... planes) {
    int64_t p = begin;
    for (; p + 8 <= end; p += 8) {
      const __m256i codes = load_codes(tile, row, p);
      const float* from = x + p;
      ((sum = _mm256_fmadd_ps(planes[codes], _mm256_loadu_ps(from), sum), from += x_stride), ...);
    }
    if (p == end) return sum;
    const __m256i inside = lane_mask(end - p);
    const __m256i codes = _mm256_and_si256(load_codes(tile, row, p), inside);
    const float* from = x + p;
    ((sum = _mm256_fmadd_ps(planes[codes], _mm256_maskload_ps(from, inside), sum),
      from += x_stride),
     ...);
    return sum;
  }
};

template <int kSize>
void multiply_size(const GroupedTile& tile, int64_t rows, const float* x, int64_t x_stride,
                   float* y) {
  if (tile.padded <= 16) return Kernel<kSize, true>::multiply(tile, rows, x, x_stride, y);
  Kernel<kSize, false>::multiply(tile, rows, x, x_stride, y);
}

void multiply(const GroupedTile& tile, int64_t rows, const float* x, int64_t x_stride, float* y) {
  if (tile.vector_size == 1) return multiply_size<1>(tile, rows, x, x_stride, y);
  if (tile.vector_size == 2) return multiply_size<2>(tile, rows, x, x_stride, y);
  multiply_size<4>(tile, rows, x, x_stride, y);
}

}  // namespace

void fill_avx2(GroupedGemvKernels& kernels) { kernels = {multiply}; }

}  // namespace bitsmith
