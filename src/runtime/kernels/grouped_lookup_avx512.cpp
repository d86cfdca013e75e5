#include <immintrin.h>

#include "runtime/kernels/grouped_lookup.h"

namespace bitsmith {
namespace {

inline __m512i load(const void* p) { return _mm512_loadu_si512(p); }

// Two bits of each of 64 positions.
inline __m512i load_pairs_of_bits(const uint8_t* p) {
  const __m512i bytes =
      _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m512i shifts =
      _mm512_set_epi64(0x0006000600060006, 0x0006000600060006, 0x0004000400040004,
                       0x0004000400040004, 0x0002000200020002, 0x0002000200020002, 0, 0);
  return _mm512_and_si512(_mm512_srlv_epi16(bytes, shifts), _mm512_set1_epi8(3));
}

inline __m512i load_nibbles(const uint8_t* p) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const __m512i halves =
      _mm512_inserti64x4(_mm512_castsi256_si512(bytes), _mm256_srli_epi16(bytes, 4), 1);
  return _mm512_and_si512(halves, _mm512_set1_epi8(15));
}

template <int kBits>
struct Codes;

template <>
struct Codes<2> {
  static constexpr int64_t kBytes = 16, kEntries = 16;
  static __m512i load(const uint8_t* p) { return load_pairs_of_bits(p); }
};
template <>
struct Codes<4> {
  static constexpr int64_t kBytes = 32, kEntries = 16;
  static __m512i load(const uint8_t* p) { return load_nibbles(p); }
};
template <>
struct Codes<6> {
  static constexpr int64_t kBytes = 48, kEntries = 64;
  static __m512i load(const uint8_t* p) {
    const __m512i high = _mm512_slli_epi16(load_pairs_of_bits(p), 4);
    return _mm512_or_si512(high, load_nibbles(p + 16));
  }
};
template <>
struct Codes<8> {
  static constexpr int64_t kBytes = 64, kEntries = 256;
  static __m512i load(const uint8_t* p) { return _mm512_loadu_si512(p); }
};

// One coordinate of the centroids, plus 128 to have no sign.
template <int kBits>
struct Table {
  static constexpr int kRegisters = kBits == 8 ? 4 : 1;
  explicit Table(const int8_t* values) {
    const __m512i sign = _mm512_set1_epi8(-128);
    if constexpr (kBits <= 4) {
      const __m128i few = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
      part[0] = _mm512_xor_si512(_mm512_broadcast_i32x4(few), sign);
    } else {
      for (int i = 0; i < kRegisters; ++i) {
        part[i] = _mm512_xor_si512(_mm512_loadu_si512(values + 64 * i), sign);
      }
    }
  }
  __m512i operator[](__m512i codes) const {
    if constexpr (kBits <= 4) return _mm512_shuffle_epi8(part[0], codes);
    if constexpr (kBits == 6) return _mm512_permutexvar_epi8(codes, part[0]);
    if constexpr (kBits == 8) {
      const __m512i low = _mm512_permutex2var_epi8(part[0], codes, part[1]);
      const __m512i high = _mm512_permutex2var_epi8(part[2], codes, part[3]);
      return _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), low, high);
    }
  }
  __m512i part[kRegisters];
};

// Codes that are needed some hundred cycles later; the groups of a strip follow each other.
constexpr int64_t kAhead = 2048;

// One group of columns.
template <int kBits, bool kBlockScales, typename... Tables>
void multiply_rows(const GroupedLookupTiles& tiles, int64_t group, int64_t rows,
                   const GroupedLookupInput& x, float* sums, const Tables&... tables) {
  const int64_t first_block = group * tiles.blocks;
  const int8_t* first_input = x.codes + first_block * static_cast<int64_t>(sizeof...(tables)) * 64;
  const __m512 tile_scale = _mm512_set1_ps(tiles.scales[group]);
  const __m512 scale_values =
      kBlockScales ? _mm512_loadu_ps(tiles.scale_values + 16 * group) : _mm512_setzero_ps();
  const uint8_t* row = tiles.codes + group * tiles.group_bytes;
  const uint8_t* row_scales = tiles.block_scales + group * tiles.scale_group_bytes;
  for (int64_t r = 0; r < rows; ++r, row += tiles.row_bytes, row_scales += tiles.scale_row_bytes) {
    const int8_t* inputs = first_input;
    __m512 part = _mm512_setzero_ps();
    for (int64_t b = 0; b < tiles.blocks; ++b) {
      const int64_t block = first_block + b;
      const uint8_t* from = row + b * Codes<kBits>::kBytes;
      _mm_prefetch(reinterpret_cast<const char*>(from + kAhead), _MM_HINT_T0);
      const __m512i codes = Codes<kBits>::load(from);
      __m512i dot = load(x.offsets + 16 * block);
      ((dot = _mm512_dpbusd_epi32(dot, tables[codes], load(inputs)), inputs += 64), ...);
      __m512 scale = _mm512_loadu_ps(x.scales + 16 * block);
      if constexpr (kBlockScales) {
        _mm_prefetch(reinterpret_cast<const char*>(row_scales + kAhead / 8), _MM_HINT_T0);
        int32_t packed;
        __builtin_memcpy(&packed, row_scales + tiles.scale_bytes[b], 4);
        const __m512i at =
            _mm512_srlv_epi32(_mm512_set1_epi32(packed), load(tiles.scale_shifts + 16 * b));
        scale = _mm512_mul_ps(scale, _mm512_permutexvar_ps(at, scale_values));  // low four bits
      }
      part = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, part);
    }
    float* to = sums + 16 * r;
    _mm512_storeu_ps(to, _mm512_fmadd_ps(part, tile_scale, _mm512_loadu_ps(to)));
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
  switch (tiles.code_bits) {
    case 2:
      return multiply_any<2>(tiles, rows, x, sums);
    case 4:
      return multiply_any<4>(tiles, rows, x, sums);
    case 6:
      return multiply_any<6>(tiles, rows, x, sums);
    default:
      return multiply_any<8>(tiles, rows, x, sums);
  }
}

}  // namespace

void fill_avx512(GroupedLookupKernels& kernels) { kernels = {8, multiply}; }

}  // namespace bitsmith
