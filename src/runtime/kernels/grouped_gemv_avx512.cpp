#include <immintrin.h>

#include "runtime/kernels/grouped_gemv.h"

namespace bitsmith {
namespace {

// Codes [p, p + 16) of a row; p is a multiple of what keeps it on a byte.
inline __m512i load_codes(const GroupedTile& tile, const uint8_t* row, int64_t p) {
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

// One coordinate of a codebook of at most 16 kTables centroids in registers; kTables 0: in memory.
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

template <int kSize, int kTables>
class Kernel {
 public:
  static void multiply(const GroupedTile& tile, int64_t rows, const float* x, int64_t x_stride,
                       float* y) {
    if constexpr (kSize == 1) run(tile, rows, x, x_stride, y, Plane<kTables>(tile.planes));
    if constexpr (kSize == 2) {
      run(tile, rows, x, x_stride, y, Plane<kTables>(tile.planes),
          Plane<kTables>(tile.planes + tile.padded));
    }
    if constexpr (kSize == 4) {
      run(tile, rows, x, x_stride, y, Plane<kTables>(tile.planes),
          Plane<kTables>(tile.planes + tile.padded), Plane<kTables>(tile.planes + 2 * tile.padded),
          Plane<kTables>(tile.planes + 3 * tile.padded));
    }
  }

 private:
  template <typename... Planes>
  static void run(const GroupedTile& tile, int64_t rows, const float* x, int64_t x_stride, float* y,
                  const Planes&... planes) {
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* row = tile.codes + r * tile.row_bytes;
      __m512 sum = _mm512_setzero_ps();
      if (!tile.block_scales) {
        sum = add_run(tile, row, 0, tile.codes_per_row, x, x_stride, sum, planes...);
      } else {
        const float* scale = tile.block_scales + r * tile.scale_stride;
        for (int64_t p = 0; p < tile.codes_per_row; p += tile.codes_per_scale) {
          const __m512 part = add_run(tile, row, p, p + tile.codes_per_scale, x, x_stride,
                                      _mm512_setzero_ps(), planes...);
          sum = _mm512_fmadd_ps(part, _mm512_set1_ps(*scale++), sum);
        }
      }
      y[r] += _mm512_reduce_add_ps(sum);
    }
  }

  // Codes [begin, end): what lies beyond the end meets zeros.
  template <typename... Planes>
  static __m512 add_run(const GroupedTile& tile, const uint8_t* row, int64_t begin, int64_t end,
                        const float* x, int64_t x_stride, __m512 sum, const Planes&... planes) {
    int64_t p = begin;
    for (; p + 16 <= end; p += 16) {
      const __m512i codes = load_codes(tile, row, p);
      const float* from = x + p;
      ((sum = _mm512_fmadd_ps(planes[codes], _mm512_loadu_ps(from), sum), from += x_stride), ...);
    }
    if (p == end) return sum;
    const auto inside = static_cast<__mmask16>((1u << (end - p)) - 1);
    const __m512i codes = _mm512_maskz_mov_epi32(inside, load_codes(tile, row, p));
    const float* from = x + p;
    ((sum = _mm512_fmadd_ps(planes[codes], _mm512_maskz_loadu_ps(inside, from), sum),
      from += x_stride),
     ...);
    return sum;
  }
};

template <int kSize>
void multiply_size(const GroupedTile& tile, int64_t rows, const float* x, int64_t x_stride,
                   float* y) {
  if (tile.padded <= 16) return Kernel<kSize, 1>::multiply(tile, rows, x, x_stride, y);
  if (tile.padded <= 32) return Kernel<kSize, 2>::multiply(tile, rows, x, x_stride, y);
  if (tile.padded <= 64) return Kernel<kSize, 4>::multiply(tile, rows, x, x_stride, y);
  Kernel<kSize, 0>::multiply(tile, rows, x, x_stride, y);
}

void multiply(const GroupedTile& tile, int64_t rows, const float* x, int64_t x_stride, float* y) {
  if (tile.vector_size == 1) return multiply_size<1>(tile, rows, x, x_stride, y);
  if (tile.vector_size == 2) return multiply_size<2>(tile, rows, x, x_stride, y);
  multiply_size<4>(tile, rows, x, x_stride, y);
}

}  // namespace

void fill_avx512(GroupedGemvKernels& kernels) { kernels = {multiply}; }

}  // namespace bitsmith
