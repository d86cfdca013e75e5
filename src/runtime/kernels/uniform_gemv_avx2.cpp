#include <immintrin.h>

#include "runtime/kernels/uniform_gemv.h"

namespace bitsmith {
namespace {

constexpr int kVectors = 8;   // of 16 rows x 4 inputs in a unit
constexpr int kHalfRows = 8;  // a register holds half of a tile's rows

__m256i load(const uint8_t* p) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(p)); }

// The codes, a byte each, of vector V of a unit of B-bit codes; half a tile, whose first half
// `unit` points to.
template <int B, int V>
__m256i load_codes(const uint8_t* unit) {
  if constexpr (B == 8) {
    return load(unit + V * 64);
  } else {
    __m256i codes = _mm256_setzero_si256();
    if constexpr (B & 4) {
      const __m256i bytes = load(unit + V / 2 * 64);
      codes = _mm256_and_si256(_mm256_srli_epi16(bytes, V % 2 * 4), _mm256_set1_epi8(15));
    }
    if constexpr (B & 2) {
      const __m256i bytes = load(unit + ((B & 4) + V / 4) * 64);
      const __m256i bits =
          _mm256_and_si256(_mm256_srli_epi16(bytes, V % 4 * 2), _mm256_set1_epi8(3));
      codes = _mm256_or_si256(codes, _mm256_slli_epi16(bits, B & 4));
    }
    if constexpr (B & 1) {
      const __m256i bytes = load(unit + (B & 6) * 64);
      const __m256i bits = _mm256_and_si256(_mm256_srli_epi16(bytes, V), _mm256_set1_epi8(1));
      codes = _mm256_or_si256(codes, _mm256_slli_epi16(bits, B & 6));
    }
    return codes;
  }
}

// Scales and zero points of half a tile's rows for the group that holds the present input.
struct Groups {
  const UniformTiles& w;
  int64_t next, boundary = 0;  // index of the next group's values; first input of that group
  __m256 scales;
  __m256i zeros;

  Groups(const UniformTiles& tiles, int64_t tile, int half)
      : w(tiles),
        next(tile * tiles.groups * kUniformRows + half * kHalfRows),
        scales(_mm256_setzero_ps()),
        zeros(_mm256_set1_epi32(tiles.zero)) {}

  void advance_to(int64_t input) {
    if (input < boundary) return;
    const auto* halves = reinterpret_cast<const __m128i*>(w.scales + next);
    scales = _mm256_cvtph_ps(_mm_load_si128(halves));
    if (w.zeros) {
      const auto* bytes = reinterpret_cast<const __m128i*>(w.zeros + next);
      zeros = _mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes));
    }
    next += kUniformRows;
    boundary += w.group_size;
  }
};

// What load_codes() is multiplied as: 8-bit codes less 128, because vpmaddubsw adds two products in
// 16 bits (255 * 127 * 2 is too much, 128 * 127 * 2 is not).
template <int B>
constexpr int kOffset = B == 8 ? 128 : 0;

// Sums of two products of codes and inputs, in 16-bit lanes.
template <int B, int V>
__m256i multiply_pairs(const uint8_t* unit, const int8_t* x) {
  int32_t four_inputs;
  __builtin_memcpy(&four_inputs, x + 4 * V, 4);
  const __m256i inputs = _mm256_set1_epi32(four_inputs), codes = load_codes<B, V>(unit);
  if constexpr (B == 8) {
    const __m256i levels = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));  // code - 128
    return _mm256_maddubs_epi16(_mm256_abs_epi8(levels), _mm256_sign_epi8(inputs, levels));
  } else {
    return _mm256_maddubs_epi16(codes, inputs);
  }
}

// acc += codes of vectors V .. V + N - 1 times their inputs. Codes of up to 4 bits stay within 16
// bits over a whole unit: 8 * 15 * 127 * 2 = 30480.
template <int B, int V, int N>
__m256i dot_vectors(const uint8_t* unit, const int8_t* x, __m256i acc) {
  if constexpr (N == 0) {
    return acc;
  } else if constexpr (B <= 4) {
    acc = _mm256_add_epi16(acc, multiply_pairs<B, V>(unit, x));
    return dot_vectors<B, V + 1, N - 1>(unit, x, acc);
  } else {
    const __m256i pairs = multiply_pairs<B, V>(unit, x);
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    return dot_vectors<B, V + 1, N - 1>(unit, x, acc);
  }
}

// The chunks of a unit that begin at vector V; each is N vectors of one group.
template <int B, int N, int V = 0>
__m256 add_chunks(const uint8_t* unit, int64_t input, const QuantizedInput& x, Groups& groups,
                  __m256 sum) {
  if constexpr (V == kVectors) {
    return sum;
  } else {
    groups.advance_to(input + 4 * V);
    const __m256i chunk_sum = _mm256_set1_epi32(x.sums[(input + 4 * V) / (4 * N)]);
    __m256i dot = dot_vectors<B, V, N>(unit, x.codes + input, _mm256_setzero_si256());
    if constexpr (B <= 4) dot = _mm256_madd_epi16(dot, _mm256_set1_epi16(1));
    const __m256i zeros = _mm256_sub_epi32(groups.zeros, _mm256_set1_epi32(kOffset<B>));
    dot = _mm256_sub_epi32(dot, _mm256_mullo_epi32(zeros, chunk_sum));
    const __m256 scales =
        _mm256_mul_ps(groups.scales, _mm256_set1_ps(x.scales[input / kUniformUnit]));
    sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scales, sum);
    return add_chunks<B, N, V + N>(unit, input, x, groups, sum);
  }
}

template <int B, int N>
void gemv_chunks(const UniformTiles& w, int64_t first, int64_t count, const QuantizedInput& x,
                 float* y) {
  for (int64_t tile = first; tile < first + count; ++tile, y += kUniformRows) {
    for (int half = 0; half < 2; ++half) {
      Groups groups(w, tile, half);
      const uint8_t* unit = w.codes + tile * w.units * B * kUniformField + half * 32;
      __m256 sum = _mm256_setzero_ps();
      for (int64_t u = 0; u < w.units; ++u, unit += B * kUniformField) {
        sum = add_chunks<B, N>(unit, u * kUniformUnit, x, groups, sum);
      }
      _mm256_storeu_ps(y + half * kHalfRows, sum);
    }
  }
}

template <int B>
void gemv_bits(const UniformTiles& w, int64_t first, int64_t count, const QuantizedInput& x,
               float* y) {
  switch (w.chunk) {
    case 32:
      return gemv_chunks<B, 8>(w, first, count, x, y);
    case 16:
      return gemv_chunks<B, 4>(w, first, count, x, y);
    case 8:
      return gemv_chunks<B, 2>(w, first, count, x, y);
    default:
      return gemv_chunks<B, 1>(w, first, count, x, y);
  }
}

// Four inputs from vector V on of a unit, for half a tile's rows.
template <int B, int V = 0>
void decode_vectors(const uint8_t* unit, int64_t input, Groups& groups, float* panel,
                    int64_t stride) {
  if constexpr (V < kVectors) {
    __m256i codes = load_codes<B, V>(unit);
    for (int64_t i = input + 4 * V; i < input + 4 * V + 4 && i < groups.w.in_features; ++i) {
      groups.advance_to(i);
      const __m256i code = _mm256_and_si256(codes, _mm256_set1_epi32(255));
      const __m256 level = _mm256_cvtepi32_ps(_mm256_sub_epi32(code, groups.zeros));
      _mm256_storeu_ps(panel + i * stride, _mm256_mul_ps(level, groups.scales));
      codes = _mm256_srli_epi32(codes, 8);
    }
    decode_vectors<B, V + 1>(unit, input, groups, panel, stride);
  }
}

template <int B>
void decode_bits(const UniformTiles& w, int64_t tile, float* panel, int64_t stride) {
  for (int half = 0; half < 2; ++half) {
    Groups groups(w, tile, half);
    const uint8_t* unit = w.codes + tile * w.units * B * kUniformField + half * 32;
    for (int64_t u = 0; u < w.units; ++u, unit += B * kUniformField) {
      decode_vectors<B>(unit, u * kUniformUnit, groups, panel + half * kHalfRows, stride);
    }
  }
}

using Gemv = void (*)(const UniformTiles&, int64_t, int64_t, const QuantizedInput&, float*);
constexpr Gemv kGemv[9] = {nullptr,      gemv_bits<1>, gemv_bits<2>, gemv_bits<3>, gemv_bits<4>,
                           gemv_bits<5>, gemv_bits<6>, gemv_bits<7>, gemv_bits<8>};
void gemv(const UniformTiles& w, int64_t first, int64_t count, const QuantizedInput& x, float* y) {
  kGemv[w.nbits](w, first, count, x, y);
}

using DecodeTile = void (*)(const UniformTiles&, int64_t, float*, int64_t);
constexpr DecodeTile kDecodeTile[9] = {nullptr,        decode_bits<1>, decode_bits<2>,
                                       decode_bits<3>, decode_bits<4>, decode_bits<5>,
                                       decode_bits<6>, decode_bits<7>, decode_bits<8>};
void decode_tile(const UniformTiles& w, int64_t tile, float* panel, int64_t stride) {
  kDecodeTile[w.nbits](w, tile, panel, stride);
}

// Largest lane of non-negative values.
float max_lane(__m256 v) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

void quantize(const float* x, int64_t in_features, int chunk, const QuantizedInput& out) {
  for (int64_t first = 0, unit = 0; first < in_features; first += kUniformUnit, ++unit) {
    float padded[kUniformUnit] = {};
    const float* inputs = x + first;
    if (in_features - first < kUniformUnit) {
      __builtin_memcpy(padded, inputs, sizeof(float) * static_cast<size_t>(in_features - first));
      inputs = padded;
    }
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 v[4], magnitude = _mm256_setzero_ps();
    for (int k = 0; k < 4; ++k) {
      v[k] = _mm256_loadu_ps(inputs + 8 * k);
      magnitude = _mm256_max_ps(magnitude, _mm256_andnot_ps(sign, v[k]));
    }
    const float largest = max_lane(magnitude);
    out.scales[unit] = largest / 127;
    const __m256 inverse = _mm256_set1_ps(largest > 0 ? 127 / largest : 0);
    __m256i words[4];
    for (int k = 0; k < 4; ++k) words[k] = _mm256_cvtps_epi32(_mm256_mul_ps(v[k], inverse));
    // Packing interleaves the registers' halves; the permutation puts fours of codes in order.
    const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(words[0], words[1]),
                                              _mm256_packs_epi32(words[2], words[3]));
    const __m256i codes =
        _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out.codes + first), codes);

    alignas(32) int32_t fours[8];  // sums of four codes
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes);
    _mm256_store_si256(reinterpret_cast<__m256i*>(fours),
                       _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    for (int i = 0; i < 8; i += chunk / 4) {
      int32_t sum = 0;
      for (int k = i; k < i + chunk / 4; ++k) sum += fours[k];
      out.sums[(first + 4 * i) / chunk] = sum;
    }
  }
}

}  // namespace

void fill_avx2(UniformGemvKernels& kernels) { kernels = {quantize, gemv, decode_tile}; }

}  // namespace bitsmith
