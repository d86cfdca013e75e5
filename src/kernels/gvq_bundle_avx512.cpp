#include "kernels/gvq_bundle.h"
#include "kernels/simd_avx512.h"

namespace bitsmith {
namespace {

constexpr int64_t kAhead = 2048;  // bytes that memory sends some 200 ns later

inline __m512i load_codes(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p + kAhead), _MM_HINT_T0);
  return _mm512_load_si512(p);
}

// Codes and centroids of a unit. A reader calls use(values) for each four inputs in turn: of each
// row four values, plus 128.

// 4 bits: a register for each coordinate; 64 codes are looked up at once.
template <int D>
struct Nibbles {
  static constexpr int64_t kUnitBytes = 256 / D, kTableBytes = 16 * D;
  // Each four rows have a tile, if they do not share it.
  Nibbles(const uint8_t* table, int64_t lane_tiles) {
    for (int t = 0; t < D; ++t) {
      const auto quarter = [&](int64_t i) {
        const uint8_t* from = table + i * lane_tiles / 4 * kTableBytes + 16 * t;
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
      };
      __m512i all = _mm512_castsi128_si512(quarter(0));
      all = _mm512_inserti32x4(all, quarter(1), 1);
      all = _mm512_inserti32x4(all, quarter(2), 2);
      coordinate[t] = _mm512_inserti32x4(all, quarter(3), 3);
    }
  }
  template <typename Use>
  __attribute__((always_inline)) void read(const uint8_t* unit, const Use& use) const {
    const __m512i low_bits = _mm512_set1_epi8(15);
    for (int q = 0; q < 4 / D; ++q) {
      const __m512i both = load_codes(unit + 64 * q);
      const __m512i low = _mm512_and_si512(both, low_bits);
      const __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), low_bits);
      for (int t = 0; t < D; ++t) use(_mm512_shuffle_epi8(coordinate[t], low));
      for (int t = 0; t < D; ++t) use(_mm512_shuffle_epi8(coordinate[t], high));
    }
  }
  __m512i coordinate[D];
};

// 6 bits: 64 pairs of coordinates are two registers, which one permutation of words takes; it
// ignores what is above a code.
struct SixBits {
  static constexpr int64_t kUnitBytes = 192, kTableBytes = 128;
  SixBits(const uint8_t* table, int64_t)
      : lower(_mm512_loadu_si512(table)), upper(_mm512_loadu_si512(table + 64)) {}
  template <typename Use>
  __attribute__((always_inline)) void read(const uint8_t* unit, const Use& use) const {
    const __m512i a = load_codes(unit), b = load_codes(unit + 64), c = load_codes(unit + 128);
    const auto look_up = [&](__m512i codes) __attribute__((always_inline)) {
      use(_mm512_permutex2var_epi16(lower, codes, upper));
    };
    const auto look_up_both = [&](__m512i words) __attribute__((always_inline)) {
      look_up(words);
      look_up(_mm512_srli_epi16(words, 6));
    };
    look_up_both(a);
    look_up_both(b);
    look_up_both(c);
    constexpr int kJoin = 0xf8;  // the first, or what the others both have
    const __m512i two_bits = _mm512_set1_epi16(0x30);
    look_up(_mm512_ternarylogic_epi32(_mm512_srli_epi16(a, 12), _mm512_srli_epi16(b, 8), two_bits,
                                      kJoin));
    look_up(_mm512_ternarylogic_epi32(_mm512_srli_epi16(c, 12), _mm512_srli_epi16(b, 10), two_bits,
                                      kJoin));
  }
  __m512i lower, upper;
};

// 8 bits: 256 pairs of coordinates are eight registers. Each of four permutations writes the words
// whose codes are of its quarter and leaves the codes of the others as they are.
template <int kPairs>
struct Bytes {
  static constexpr int64_t kUnitBytes = 256 / kPairs, kTableBytes = 512 * kPairs;
  struct Quarters {
    __mmask32 mask[4];
    Quarters(__mmask32 bit6, __mmask32 bit7)
        : mask{_knot_mask32(_kor_mask32(bit6, bit7)), _kandn_mask32(bit7, bit6),
               _kandn_mask32(bit6, bit7), _kand_mask32(bit6, bit7)} {}
  };
  Bytes(const uint8_t* table, int64_t) {
    for (int i = 0; i < 8 * kPairs; ++i) part[i] = _mm512_loadu_si512(table + 64 * i);
  }
  template <typename Use>
  __attribute__((always_inline)) void look_up(__m512i codes, Quarters quarters,
                                              const Use& use) const {
    for (int p = 0; p < kPairs; ++p) {
      __m512i values = codes;
      for (int i = 0; i < 4; ++i) {
        values = _mm512_mask2_permutex2var_epi16(part[8 * p + 2 * i], values, quarters.mask[i],
                                                 part[8 * p + 2 * i + 1]);
      }
      use(values);
    }
  }
  template <typename Use>
  __attribute__((always_inline)) void read(const uint8_t* unit, const Use& use) const {
    for (int q = 0; q < 4 / kPairs; ++q) {
      const __m512i both = load_codes(unit + 64 * q);
      look_up(both,
              {_mm512_test_epi16_mask(both, _mm512_set1_epi16(0x40)),
               _mm512_test_epi16_mask(both, _mm512_set1_epi16(0x80))},
              use);
      look_up(_mm512_srli_epi16(both, 8),
              {_mm512_movepi16_mask(_mm512_add_epi16(both, both)), _mm512_movepi16_mask(both)},
              use);
    }
  }
  __m512i part[8 * kPairs];
};

// Where a bundle's pieces, tables and scales are.
template <typename Codes>
struct Bundle {
  Bundle(const GvqBundles& w, int64_t bundle)
      : column_groups(w.column_groups),
        piece_bytes(w.scale_bytes + w.group_units * Codes::kUnitBytes),
        table_bytes(w.lane_tiles * Codes::kTableBytes),
        tile_scales(w.scale_bytes > 0 ? 16 : w.lane_tiles),
        pieces(w.pieces + bundle * column_groups * piece_bytes),
        tables(w.tables + bundle / w.strip_bundles * column_groups * table_bytes),
        scales(w.scales + bundle / w.strip_bundles * column_groups * tile_scales) {}
  const uint8_t* piece(int64_t g) const { return pieces + g * piece_bytes; }
  const uint8_t* table(int64_t g) const { return tables + g * table_bytes; }
  const float* scales_of(int64_t g) const { return scales + g * tile_scales; }

  int64_t column_groups, piece_bytes, table_bytes, tile_scales;
  const uint8_t* pieces;
  const uint8_t* tables;
  const float* scales;
};

// The scales of a piece's rows in a unit.
template <bool kBlockScales>
struct Scales {
  Scales(const GvqBundles& w, const uint8_t* piece, const float* tile)
      : codes(piece),
        log2(w.scale_units_log2),
        values(kBlockScales ? _mm512_loadu_ps(tile) : of_tiles(tile, w.lane_tiles)) {}
  __m512 of_unit(int64_t unit) const {
    if constexpr (!kBlockScales) return values;
    const int64_t i = unit >> log2;
    const auto* pair = reinterpret_cast<const __m128i*>(codes + i / 2 * kGvqBundleRows);
    const __m512i at = _mm512_cvtepu8_epi32(_mm_load_si128(pair));
    const __m128i shift = _mm_cvtsi64_si128(i % 2 * 4);
    return _mm512_permutexvar_ps(_mm512_srl_epi32(at, shift), values);  // by the low four bits
  }
  // The scales of a bundle's tiles in the lanes of their rows.
  static __m512 of_tiles(const float* tiles, int64_t count) {
    const __m512i lane = Simd::lane_index();  // lane * count / 16 is the tile's
    const __m512i tile = _mm512_srli_epi32(
        _mm512_mullo_epi32(lane, Simd::broadcast(static_cast<int32_t>(count))), 4);
    return _mm512_permutexvar_ps(tile, Simd::load_first(tiles, count));
  }
  const uint8_t* codes;
  int log2;
  __m512 values;
};

template <typename Codes, bool kBlockScales>
void multiply_bundles(const GvqBundles& bundles, int64_t first, int64_t count,
                      const GvqBundleInput& input, float* y) {
  const GvqBundles w = bundles;  // by value: what is behind a reference would be read again
  const GvqBundleInput x = input;
  for (int64_t b = first; b < first + count; ++b, y += kGvqBundleRows) {
    const Bundle<Codes> bundle(w, b);
    __m512 sum = _mm512_setzero_ps();
    const int8_t* inputs = x.codes;
    int64_t unit = 0;  // of the row
    for (int64_t g = 0; g < w.column_groups; ++g) {
      const Codes codes(bundle.table(g), w.lane_tiles);
      const uint8_t* piece = bundle.piece(g);
      const Scales<kBlockScales> scales(w, piece, bundle.scales_of(g));
      const uint8_t* from = piece + w.scale_bytes;
      for (int64_t u = 0; u < w.group_units; ++u, ++unit, from += Codes::kUnitBytes) {
        // What the values' 128 will add too much.
        __m512i dot = _mm512_set1_epi32(-128 * x.sums[unit]);
        codes.read(
            from, [&](__m512i values) __attribute__((always_inline)) {
              dot =
                  _mm512_dpbusd_epi32(dot, values, _mm512_broadcastd_epi32(_mm_loadu_si32(inputs)));
              inputs += 4;
            });
        const __m512 scale = _mm512_mul_ps(scales.of_unit(u), _mm512_set1_ps(x.scales[unit]));
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, sum);
      }
    }
    _mm512_storeu_ps(y, sum);
  }
}

template <typename Codes, bool kBlockScales>
void decode_bundle(const GvqBundles& w, int64_t b, int64_t begin, int64_t end, int64_t first,
                   const Int8Panel& panel, int64_t row) {
  const Bundle<Codes> bundle(w, b);
  const __mmask16 lanes =
      static_cast<__mmask16>(Simd::first_lanes(end) & ~Simd::first_lanes(begin));
  const __m512i sign = _mm512_set1_epi8(-128);
  int8_t* to = panel.codes + 4 * row;
  float* to_scales = panel.scales + row;
  const int64_t group_inputs = w.group_units * kInt8Unit;
  for (int64_t g = first / group_inputs; g * group_inputs < first + panel.inputs; ++g) {
    const Codes codes(bundle.table(g), w.lane_tiles);
    const uint8_t* piece = bundle.piece(g);
    const Scales<kBlockScales> scales(w, piece, bundle.scales_of(g));
    const uint8_t* from = piece + w.scale_bytes;
    for (int64_t u = 0; u < w.group_units; ++u, from += Codes::kUnitBytes) {
      codes.read(
          from, [&](__m512i values) __attribute__((always_inline)) {
            _mm512_mask_storeu_epi32(to, lanes, _mm512_xor_si512(values, sign));
            to += 4 * kInt8Rows;
          });
      _mm512_mask_storeu_ps(to_scales, lanes, scales.of_unit(u));
      to_scales += kInt8Rows;
    }
  }
}

// f(codes, block scales) for the bundles' codes, both as types.
template <typename T>
struct Type {
  using type = T;
};
template <typename F>
void with_codes(const GvqBundles& w, const F& f) {
  if (w.code_bits == 6) return f(Type<SixBits>());
  if (w.code_bits == 8) return w.vector_size == 2 ? f(Type<Bytes<1>>()) : f(Type<Bytes<2>>());
  if (w.vector_size == 1) return f(Type<Nibbles<1>>());
  if (w.vector_size == 2) return f(Type<Nibbles<2>>());
  f(Type<Nibbles<4>>());
}

int lane_codes(int code_bits, int vector_size) {
  if (code_bits == 4) return 4;
  return vector_size == 2 || (code_bits == 8 && vector_size == 4) ? 2 : 0;
}

void multiply(const GvqBundles& w, int64_t first, int64_t count, const GvqBundleInput& x,
              float* y) {
  with_codes(w, [&](auto type) {
    using Codes = typename decltype(type)::type;
    const auto kernel =
        w.scale_bytes > 0 ? multiply_bundles<Codes, true> : multiply_bundles<Codes, false>;
    kernel(w, first, count, x, y);
  });
}

void decode_int8(const GvqBundles& w, int64_t bundle, int64_t begin, int64_t end, int64_t first,
                 const Int8Panel& panel, int64_t row) {
  with_codes(w, [&](auto type) {
    using Codes = typename decltype(type)::type;
    const auto kernel =
        w.scale_bytes > 0 ? decode_bundle<Codes, true> : decode_bundle<Codes, false>;
    kernel(w, bundle, begin, end, first, panel, row);
  });
}

}  // namespace

void fill_avx512(GvqBundleKernels& kernels) { kernels = {lane_codes, multiply, decode_int8}; }

}  // namespace bitsmith
