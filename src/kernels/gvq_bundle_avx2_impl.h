// The kernel with AVX2's registers, with or without AVX-VNNI; included once by each set's file,
// everything in an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include <utility>
#include "kernels/gvq_bundle.h"

#include "kernels/gvq_lookup_avx2_impl.h"

namespace bitsmith {
namespace {

constexpr int64_t kAhead = 1024;  // bytes that memory sends some 200 ns later

// Half of a register of the layout, and what it needs later.
inline __m256i load_half(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p + kAhead), _MM_HINT_T0);
  return load_bytes(p);
}

// Codes and centroids of a unit. A reader calls use(values) for each four inputs in turn: of each
// of the half's eight rows four values, plus kBias (0 or 128).

// A register for each coordinate, or four of them.
template <int kBits, int D, int kBias>
struct ByteCodes {
  static constexpr int64_t kUnitBytes = 64 * kBits / D, kTableBytes = D << kBits;
  using Table = ByteTable<kBits, /*kBias=*/128 - kBias>;  // bytes in memory have 128 more

  // Of the rows' half. Each four rows have a tile, if they do not share it.
  ByteCodes(const uint8_t* from, int64_t lane_tiles, int64_t half)
      : ByteCodes(reinterpret_cast<const int8_t*>(from) + half * lane_tiles / 2 * kTableBytes,
                  std::make_integer_sequence<int, D>()) {
    if (lane_tiles < 4) return;
    const ByteCodes other(reinterpret_cast<const int8_t*>(from) + (2 * half + 1) * kTableBytes,
                          std::make_integer_sequence<int, D>());
    const __m256i upper = _mm256_setr_epi32(0, 0, 0, 0, -1, -1, -1, -1);
    for (int t = 0; t < D; ++t) coordinate[t].replace(upper, other.coordinate[t]);
  }
  template <typename Use>
  __attribute__((always_inline)) void read(const uint8_t* unit, int64_t half,
                                           const Use& use) const {
    const __m256i low_bits = _mm256_set1_epi8(15), high_bits = _mm256_set1_epi8(0x30);
    const auto look_up = [&](__m256i codes) __attribute__((always_inline)) {
      for (int t = 0; t < D; ++t) use(coordinate[t][codes]);
    };
    const uint8_t* from = unit + 32 * half;
    if constexpr (kBits == 4) {
      for (int q = 0; q < 4 / D; ++q) {
        const __m256i both = load_half(from + 64 * q);
        look_up(_mm256_and_si256(both, low_bits));
        look_up(_mm256_and_si256(_mm256_srli_epi16(both, 4), low_bits));
      }
    } else {
      const __m256i upper = load_half(from + 128);
      const auto join = [&](__m256i low, __m256i high) __attribute__((always_inline)) {
        return _mm256_or_si256(_mm256_and_si256(low, low_bits), _mm256_and_si256(high, high_bits));
      };
      const __m256i a = load_half(from), b = load_half(from + 64);
      look_up(join(a, _mm256_slli_epi16(upper, 4)));
      look_up(join(_mm256_srli_epi16(a, 4), _mm256_slli_epi16(upper, 2)));
      look_up(join(b, upper));
      look_up(join(_mm256_srli_epi16(b, 4), _mm256_srli_epi16(upper, 2)));
    }
  }
  Table coordinate[D];

 private:
  template <int... t>
  ByteCodes(const int8_t* from, std::integer_sequence<int, t...>)
      : coordinate{Table(from + (t << kBits))...} {}
};

// 256 centroids of four coordinates, fetched from the first-level cache: one load and one insertion
// each take a third of the time of a gather.
template <int kBias>
struct LoadedCodes {
  static constexpr int64_t kUnitBytes = 128, kTableBytes = 1024;
  LoadedCodes(const uint8_t* from, int64_t, int64_t) : table(from) {}
  template <typename Use>
  __attribute__((always_inline)) void read(const uint8_t* unit, int64_t half,
                                           const Use& use) const {
    _mm_prefetch(reinterpret_cast<const char*>(unit + kAhead + 64 * half), _MM_HINT_T0);
    for (int64_t j = 0; j < 8; ++j) {
      const uint8_t* codes = unit + kGvqBundleRows * j + 8 * half;
      const __m256i values = _mm256_set_m128i(four(codes + 4), four(codes));
      use(_mm256_xor_si256(values, _mm256_set1_epi8(static_cast<char>(128 - kBias))));
    }
  }

 private:
  int32_t centroid(uint8_t code) const {
    int32_t values;
    __builtin_memcpy(&values, table + 4 * int64_t{code}, sizeof(values));
    return values;
  }
  __m128i four(const uint8_t* codes) const {
    const __m128i values =
        _mm_insert_epi32(_mm_cvtsi32_si128(centroid(codes[0])), centroid(codes[1]), 1);
    return _mm_insert_epi32(_mm_insert_epi32(values, centroid(codes[2]), 2), centroid(codes[3]), 3);
  }
  const uint8_t* table;
};

// Where a bundle's pieces, tables and scales are.
template <typename Codes>
struct Bundle {
  Bundle(const GvqBundles& w, int64_t bundle)
      : piece_bytes(w.scale_bytes + w.group_units * Codes::kUnitBytes),
        table_bytes(w.lane_tiles * Codes::kTableBytes),
        tile_scales(w.scale_bytes > 0 ? 16 : w.lane_tiles),
        pieces(w.pieces + bundle * w.column_groups * piece_bytes),
        tables(w.tables + bundle / w.strip_bundles * w.column_groups * table_bytes),
        scales(w.scales + bundle / w.strip_bundles * w.column_groups * tile_scales) {}
  const uint8_t* piece(int64_t g) const { return pieces + g * piece_bytes; }
  const uint8_t* table(int64_t g) const { return tables + g * table_bytes; }
  const float* scales_of(int64_t g) const { return scales + g * tile_scales; }

  int64_t piece_bytes, table_bytes, tile_scales;
  const uint8_t* pieces;
  const uint8_t* tables;
  const float* scales;
};

// The scales of half of a piece's rows in a unit.
template <bool kBlockScales>
struct HalfScales {
  HalfScales(const GvqBundles& w, const uint8_t* piece, const float* tile, int64_t half)
      : codes(piece + 8 * half),
        log2(w.scale_units_log2),
        low(kBlockScales ? _mm256_loadu_ps(tile) : of_tiles(tile, w.lane_tiles, half)),
        high(kBlockScales ? _mm256_loadu_ps(tile + 8) : low) {}
  __m256 of_unit(int64_t unit) const {
    if constexpr (!kBlockScales) return low;
    const int64_t i = unit >> log2;
    const auto* pair = reinterpret_cast<const __m128i*>(codes + i / 2 * kGvqBundleRows);
    const __m256i both = _mm256_cvtepu8_epi32(_mm_loadl_epi64(pair));
    const __m256i at = _mm256_srl_epi32(both, _mm_cvtsi64_si128(i % 2 * 4));
    const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(at, 28));  // bit 3 as the sign
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, at), _mm256_permutevar8x32_ps(high, at),
                            upper);
  }
  // The scales of the half's tiles in the lanes of their rows.
  static __m256 of_tiles(const float* tiles, int64_t count, int64_t half) {
    const __m128 lower = _mm_set1_ps(tiles[half * count / 2]);
    return _mm256_set_m128(_mm_set1_ps(tiles[(2 * half + 1) * count / 4]), lower);
  }
  const uint8_t* codes;
  int log2;
  __m256 low, high;
};

// I: kBias, and dot products of values with inputs.
template <typename I>
class GvqBundleKernel {
 public:
  static void multiply(const GvqBundles& w, int64_t first, int64_t count, const GvqBundleInput& x,
                       float* y) {
    with_codes(w, [&](auto type) {
      using Codes = typename decltype(type)::type;
      const auto kernel =
          w.scale_bytes > 0 ? multiply_bundles<Codes, true> : multiply_bundles<Codes, false>;
      kernel(w, first, count, x, y);
    });
  }
  static void decode_int8(const GvqBundles& w, int64_t bundle, int64_t begin, int64_t end,
                          int64_t first, const Int8Panel& panel, int64_t row) {
    with_codes(w, [&](auto type) {
      using Codes = typename decltype(type)::type;
      const auto kernel =
          w.scale_bytes > 0 ? decode_bundle<Codes, true> : decode_bundle<Codes, false>;
      kernel(w, bundle, begin, end, first, panel, row);
    });
  }

 private:
  template <typename T>
  struct Type {
    using type = T;
  };
  template <typename F>
  static void with_codes(const GvqBundles& w, const F& f) {
    if (w.code_bits == 8) return f(Type<LoadedCodes<I::kBias>>());
    if (w.code_bits == 6) return f(Type<ByteCodes<6, 2, I::kBias>>());
    if (w.vector_size == 1) return f(Type<ByteCodes<4, 1, I::kBias>>());
    if (w.vector_size == 2) return f(Type<ByteCodes<4, 2, I::kBias>>());
    f(Type<ByteCodes<4, 4, I::kBias>>());
  }

  template <typename Codes, bool kBlockScales>
  static void multiply_bundles(const GvqBundles& bundles, int64_t first, int64_t count,
                               const GvqBundleInput& input, float* y) {
    const GvqBundles w = bundles;  // by value: what is behind a reference would be read again
    const GvqBundleInput x = input;
    for (int64_t b = first; b < first + count; ++b, y += kGvqBundleRows) {
      const Bundle<Codes> bundle(w, b);
      __m256 sums[2] = {Simd::zeros(), Simd::zeros()};
      for (int64_t g = 0; g < w.column_groups; ++g) {
        const uint8_t* piece = bundle.piece(g);
        for (int64_t half = 0; half < 2; ++half) {
          const Codes codes(bundle.table(g), w.lane_tiles, half);
          const HalfScales<kBlockScales> scales(w, piece, bundle.scales_of(g), half);
          const uint8_t* from = piece + w.scale_bytes;
          const int8_t* inputs = x.codes + g * w.group_units * kInt8Unit;
          __m256 sum = sums[half];
          for (int64_t u = 0; u < w.group_units; ++u, from += Codes::kUnitBytes) {
            const int64_t unit = g * w.group_units + u;
            __m256i dot = I::start(x.sums[unit]);
            codes.read(
                from, half, [&](__m256i values) __attribute__((always_inline)) {
                  int32_t four;
                  __builtin_memcpy(&four, inputs, sizeof(four));
                  dot = I::add_products(dot, values, _mm256_set1_epi32(four));
                  inputs += 4;
                });
            const __m256 scale = scales.of_unit(u) * _mm256_set1_ps(x.scales[unit]);
            sum = Simd::multiply_add(_mm256_cvtepi32_ps(dot), scale, sum);
          }
          sums[half] = sum;
        }
      }
      Simd::store(y, sums[0]);
      Simd::store(y + 8, sums[1]);
    }
  }

  template <typename Codes, bool kBlockScales>
  static void decode_bundle(const GvqBundles& w, int64_t b, int64_t begin, int64_t end,
                            int64_t first, const Int8Panel& panel, int64_t row) {
    const Bundle<Codes> bundle(w, b);
    const __m256i sign = _mm256_set1_epi8(static_cast<char>(I::kBias));
    const int64_t group_inputs = w.group_units * kInt8Unit;
    for (int64_t half = 0; half < 2; ++half) {
      const __m256i lanes = _mm256_andnot_si256(Simd::first_lanes(begin - 8 * half),
                                                Simd::first_lanes(end - 8 * half));
      int8_t* to = panel.codes + 4 * (row + 8 * half);
      float* to_scales = panel.scales + row + 8 * half;
      for (int64_t g = first / group_inputs; g * group_inputs < first + panel.inputs; ++g) {
        const Codes codes(bundle.table(g), w.lane_tiles, half);
        const uint8_t* piece = bundle.piece(g);
        const HalfScales<kBlockScales> scales(w, piece, bundle.scales_of(g), half);
        const uint8_t* from = piece + w.scale_bytes;
        for (int64_t u = 0; u < w.group_units; ++u, from += Codes::kUnitBytes) {
          codes.read(
              from, half, [&](__m256i values) __attribute__((always_inline)) {
                _mm256_maskstore_epi32(reinterpret_cast<int*>(to), lanes,
                                       _mm256_xor_si256(values, sign));
                to += 4 * kInt8Rows;
              });
          _mm256_maskstore_ps(to_scales, lanes, scales.of_unit(u));
          to_scales += kInt8Rows;
        }
      }
    }
  }
};

inline int lane_codes(int code_bits, int vector_size) {
  if (code_bits == 4) return 4;
  if (code_bits == 6) return vector_size == 2 ? 4 : 0;
  return vector_size == 4 ? 1 : 0;
}

template <typename I>
GvqBundleKernels gvq_bundle_kernels() {
  return {lane_codes, GvqBundleKernel<I>::multiply, GvqBundleKernel<I>::decode_int8};
}

}  // namespace
}  // namespace bitsmith
