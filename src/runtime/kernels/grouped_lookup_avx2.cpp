#include <immintrin.h>

#include "runtime/kernels/grouped_lookup.h"

namespace bitsmith {
namespace {

inline __m256i load(const void* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// Half of a block: positions 32 h .. 32 h + 31.
inline __m256i load_pairs_of_bits(const uint8_t* p, int half) {
  const __m128i bytes = _mm_srl_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)),
                                      _mm_cvtsi32_si128(4 * half));
  return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(bytes, 2), bytes), _mm256_set1_epi8(3));
}

inline __m256i load_nibbles(const uint8_t* p, int half) {
  return _mm256_and_si256(_mm256_srl_epi16(load(p), _mm_cvtsi32_si128(4 * half)),
                          _mm256_set1_epi8(15));
}

template <int kBits>
struct Codes;

template <>
struct Codes<2> {
  static constexpr int64_t kBytes = 16, kEntries = 16;
  static __m256i load(const uint8_t* p, int half) { return load_pairs_of_bits(p, half); }
};
template <>
struct Codes<4> {
  static constexpr int64_t kBytes = 32, kEntries = 16;
  static __m256i load(const uint8_t* p, int half) { return load_nibbles(p, half); }
};
template <>
struct Codes<6> {
  static constexpr int64_t kBytes = 48, kEntries = 64;
  static __m256i load(const uint8_t* p, int half) {
    const __m256i high = _mm256_slli_epi16(load_pairs_of_bits(p, half), 4);
    return _mm256_or_si256(high, load_nibbles(p + 16, half));
  }
};

// One coordinate of the centroids.
template <int kBits>
struct Table {
  static constexpr int kRegisters = kBits == 6 ? 4 : 1;
  explicit Table(const int8_t* values) {
    for (int i = 0; i < kRegisters; ++i) {
      part[i] = _mm256_broadcastsi128_si256(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(values + 16 * i)));
    }
  }
  __m256i operator[](__m256i codes) const {
    if constexpr (kBits <= 4) return _mm256_shuffle_epi8(part[0], codes);
    const __m256i within = _mm256_and_si256(codes, _mm256_set1_epi8(15));
    const __m256i bit4 = _mm256_slli_epi16(codes, 3), bit5 = _mm256_slli_epi16(codes, 2);
    const auto quarter = [&](int i) { return _mm256_shuffle_epi8(part[i], within); };
    return _mm256_blendv_epi8(_mm256_blendv_epi8(quarter(0), quarter(1), bit4),
                              _mm256_blendv_epi8(quarter(2), quarter(3), bit4), bit5);
  }
  __m256i part[kRegisters];
};

// Lanes of four products: |values| is at most 128, so that sums of two fit 16 bits.
inline __m256i add_products(__m256i dot, __m256i values, __m256i inputs) {
  const __m256i pairs =
      _mm256_maddubs_epi16(_mm256_abs_epi8(values), _mm256_sign_epi8(inputs, values));
  return _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

inline __m256 look_up_scales(const float* scale_values, __m256i at) {
  const __m256 low = _mm256_loadu_ps(scale_values), high = _mm256_loadu_ps(scale_values + 8);
  const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(at, 28));  // bit 3 as the sign
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, at), _mm256_permutevar8x32_ps(high, at),
                          upper);
}

// Codes that are needed some hundred cycles later; the groups of a strip follow each other.
constexpr int64_t kAhead = 2048;

// One group of columns.
template <int kBits, bool kBlockScales, typename... Tables>
void multiply_rows(const GroupedLookupTiles& tiles, int64_t group, int64_t rows,
                   const GroupedLookupInput& x, float* sums, const Tables&... tables) {
  const int64_t first_block = group * tiles.blocks;
  const int8_t* first_input = x.codes + first_block * static_cast<int64_t>(sizeof...(tables)) * 64;
  const __m256 tile_scale = _mm256_set1_ps(tiles.scales[group]);
  const uint8_t* row = tiles.codes + group * tiles.group_bytes;
  const uint8_t* row_scales = tiles.block_scales + group * tiles.scale_group_bytes;
  for (int64_t r = 0; r < rows; ++r, row += tiles.row_bytes, row_scales += tiles.scale_row_bytes) {
    for (int half = 0; half < 2; ++half) {
      const int8_t* inputs = first_input + 32 * half;
      __m256 part = _mm256_setzero_ps();
      for (int64_t b = 0; b < tiles.blocks; ++b) {
        const uint8_t* from = row + b * Codes<kBits>::kBytes;
        _mm_prefetch(reinterpret_cast<const char*>(from + kAhead), _MM_HINT_T0);
        const __m256i codes = Codes<kBits>::load(from, half);
        __m256i dot = _mm256_setzero_si256();
        ((dot = add_products(dot, tables[codes], load(inputs)), inputs += 64), ...);
        __m256 scale = _mm256_loadu_ps(x.scales + 16 * (first_block + b) + 8 * half);
        if constexpr (kBlockScales) {
          int32_t packed;
          __builtin_memcpy(&packed, row_scales + tiles.scale_bytes[b], 4);
          const __m256i at = _mm256_srlv_epi32(_mm256_set1_epi32(packed),
                                               load(tiles.scale_shifts + 16 * b + 8 * half));
          scale = _mm256_mul_ps(scale, look_up_scales(tiles.scale_values + 16 * group, at));
        }
        part = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, part);
      }
      float* to = sums + 16 * r + 8 * half;
      _mm256_storeu_ps(to, _mm256_fmadd_ps(part, tile_scale, _mm256_loadu_ps(to)));
    }
  }
}

template <int kBits, bool kBlockScales, int kSize>
void multiply_groups(const GroupedLookupTiles& tiles, int64_t rows, const GroupedLookupInput& x,
                     float* sums) {
  constexpr int64_t kNext = Codes<kBits>::kEntries;
  using T = Table<kBits>;
  const int8_t* t = tiles.tables;
  for (int64_t g = 0; g < tiles.groups; ++g, t += kSize * kNext) {
    const auto run = [&](const auto&... tables) {
      multiply_rows<kBits, kBlockScales>(tiles, g, rows, x, sums, tables...);
    };
    if constexpr (kSize == 1) run(T(t));
    if constexpr (kSize == 2) run(T(t), T(t + kNext));
    if constexpr (kSize == 4) run(T(t), T(t + kNext), T(t + 2 * kNext), T(t + 3 * kNext));
  }
}

template <int kBits, bool kBlockScales>
void multiply_bits(const GroupedLookupTiles& tiles, int64_t rows, const GroupedLookupInput& x,
                   float* sums) {
  const auto kernel = tiles.vector_size == 1   ? multiply_groups<kBits, kBlockScales, 1>
                      : tiles.vector_size == 2 ? multiply_groups<kBits, kBlockScales, 2>
                                               : multiply_groups<kBits, kBlockScales, 4>;
  kernel(tiles, rows, x, sums);
}

template <int kBits>
void multiply_any(const GroupedLookupTiles& tiles, int64_t rows, const GroupedLookupInput& x,
                  float* sums) {
  const auto kernel = tiles.block_scales ? multiply_bits<kBits, true> : multiply_bits<kBits, false>;
  kernel(tiles, rows, x, sums);
}

void multiply(const GroupedLookupTiles& tiles, int64_t rows, const GroupedLookupInput& x,
              float* sums) {
  if (tiles.code_bits == 2) return multiply_any<2>(tiles, rows, x, sums);
  if (tiles.code_bits == 4) return multiply_any<4>(tiles, rows, x, sums);
  multiply_any<6>(tiles, rows, x, sums);
}

}  // namespace

void fill_avx2(GroupedLookupKernels& kernels) { kernels = {6, multiply}; }

}  // namespace bitsmith
