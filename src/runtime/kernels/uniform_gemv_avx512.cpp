#include <immintrin.h>

#include "runtime/kernels/uniform_gemv.h"

namespace bitsmith {
namespace {

constexpr int kVectors = 8;  // of 16 rows x 4 inputs in a unit

// The codes, a byte each, of vector V of a unit of B-bit codes.
template <int B, int V>
__m512i load_codes(const uint8_t* unit) {
  if constexpr (B == 8) {
    return _mm512_load_si512(unit + V * 64);
  } else {
    __m512i codes = _mm512_setzero_si512();
    if constexpr (B & 4) {
      const __m512i bytes = _mm512_load_si512(unit + V / 2 * 64);
      codes = _mm512_and_si512(_mm512_srli_epi16(bytes, V % 2 * 4), _mm512_set1_epi8(15));
    }
    if constexpr (B & 2) {
      const __m512i bytes = _mm512_load_si512(unit + ((B & 4) + V / 4) * 64);
      const __m512i bits =
          _mm512_and_si512(_mm512_srli_epi16(bytes, V % 4 * 2), _mm512_set1_epi8(3));
      codes = _mm512_or_si512(codes, _mm512_slli_epi16(bits, B & 4));
    }
    if constexpr (B & 1) {
      const __m512i bytes = _mm512_load_si512(unit + (B & 6) * 64);
      const __m512i bits = _mm512_and_si512(_mm512_srli_epi16(bytes, V), _mm512_set1_epi8(1));
      codes = _mm512_or_si512(codes, _mm512_slli_epi16(bits, B & 6));
    }
    return codes;
  }
}

// Scales and zero points of a tile's rows for the group that holds the present input.
struct Groups {
  const UniformTiles& w;
  int64_t next, boundary = 0;  // index of the next group's values; first input of that group
  __m512 scales;
  __m512i zeros;

  Groups(const UniformTiles& tiles, int64_t tile)
      : w(tiles),
        next(tile * tiles.groups * kUniformRows),
        scales(_mm512_setzero_ps()),
        zeros(_mm512_set1_epi32(tiles.zero)) {}

  void advance_to(int64_t input) {
    if (input < boundary) return;
    const auto* halves = reinterpret_cast<const __m256i*>(w.scales + next);
    scales = _mm512_cvtph_ps(_mm256_load_si256(halves));
    if (w.zeros) {
      const auto* bytes = reinterpret_cast<const __m128i*>(w.zeros + next);
      zeros = _mm512_cvtepu8_epi32(_mm_load_si128(bytes));
    }
    next += kUniformRows;
    boundary += w.group_size;
  }
};

// acc += codes of vectors V .. V + N - 1 times their inputs.
template <int B, int V, int N>
__m512i dot_vectors(const uint8_t* unit, const int8_t* x, __m512i acc) {
  if constexpr (N == 0) {
    return acc;
  } else {
    const __m512i inputs =
        _mm512_broadcastd_epi32(_mm_loadu_si32(x + 4 * V));  // four inputs for every row
    acc = _mm512_dpbusd_epi32(acc, load_codes<B, V>(unit), inputs);
    return dot_vectors<B, V + 1, N - 1>(unit, x, acc);
  }
}

// The chunks of a unit that begin at vector V; each is N vectors of one group.
template <int B, int N, int V = 0>
__m512 add_chunks(const uint8_t* unit, int64_t input, const QuantizedInput& x, Groups& groups,
                  __m512 sum) {
  if constexpr (V == kVectors) {
    return sum;
  } else {
    groups.advance_to(input + 4 * V);
    const __m512i chunk_sum = _mm512_set1_epi32(x.sums[(input + 4 * V) / (4 * N)]);
    const __m512i codes_dot = dot_vectors<B, V, N>(unit, x.codes + input, _mm512_setzero_si512());
    const __m512i dot = _mm512_sub_epi32(codes_dot, _mm512_mullo_epi32(groups.zeros, chunk_sum));
    const __m512 scales =
        _mm512_mul_ps(groups.scales, _mm512_set1_ps(x.scales[input / kUniformUnit]));
    sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scales, sum);
    return add_chunks<B, N, V + N>(unit, input, x, groups, sum);
  }
}

// Codes that are needed some hundred cycles later.
template <int B>
void prefetch_unit(const uint8_t* unit) {
  constexpr int64_t kAhead = 1024;
  for (int k = 0; k < B; ++k) {
    _mm_prefetch(reinterpret_cast<const char*>(unit + kAhead + k * 64), _MM_HINT_T0);
  }
}

template <int B, int N>
void gemv_chunks(const UniformTiles& w, int64_t first, int64_t count, const QuantizedInput& x,
                 float* y) {
  for (int64_t tile = first; tile < first + count; ++tile, y += kUniformRows) {
    Groups groups(w, tile);
    const uint8_t* unit = w.codes + tile * w.units * B * kUniformField;
    __m512 sum = _mm512_setzero_ps();
    for (int64_t u = 0; u < w.units; ++u, unit += B * kUniformField) {
      prefetch_unit<B>(unit);
      sum = add_chunks<B, N>(unit, u * kUniformUnit, x, groups, sum);
    }
    _mm512_storeu_ps(y, sum);
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

// Four inputs from vector V on of a unit, for all rows.
template <int B, int V = 0>
void decode_vectors(const uint8_t* unit, int64_t input, Groups& groups, float* panel,
                    int64_t stride) {
  if constexpr (V < kVectors) {
    __m512i codes = load_codes<B, V>(unit);
    for (int64_t i = input + 4 * V; i < input + 4 * V + 4 && i < groups.w.in_features; ++i) {
      groups.advance_to(i);
      const __m512i code = _mm512_and_si512(codes, _mm512_set1_epi32(255));
      const __m512 level = _mm512_cvtepi32_ps(_mm512_sub_epi32(code, groups.zeros));
      _mm512_storeu_ps(panel + i * stride, _mm512_mul_ps(level, groups.scales));
      codes = _mm512_srli_epi32(codes, 8);
    }
    decode_vectors<B, V + 1>(unit, input, groups, panel, stride);
  }
}

template <int B>
void decode_bits(const UniformTiles& w, int64_t tile, float* panel, int64_t stride) {
  Groups groups(w, tile);
  for (int64_t u = 0; u < w.units; ++u) {
    const uint8_t* unit = w.codes + (tile * w.units + u) * B * kUniformField;
    decode_vectors<B>(unit, u * kUniformUnit, groups, panel, stride);
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

__mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffffu : count <= 0 ? 0u : (1u << count) - 1);
}

void quantize(const float* x, int64_t in_features, int chunk, const QuantizedInput& out) {
  for (int64_t first = 0, unit = 0; first < in_features; first += kUniformUnit, ++unit) {
    const int64_t left = in_features - first;
    const __m512 a = _mm512_maskz_loadu_ps(first_lanes(left), x + first);
    const __m512 b = _mm512_maskz_loadu_ps(first_lanes(left - 16), x + first + 16);
    const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
    out.scales[unit] = largest / 127;
    const __m512 inverse = _mm512_set1_ps(largest > 0 ? 127 / largest : 0);
    const __m128i low = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(a, inverse)));
    const __m128i high = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(b, inverse)));
    const __m256i codes = _mm256_set_m128i(high, low);
    _mm256_store_si256(reinterpret_cast<__m256i*>(out.codes + first), codes);

    alignas(32) int32_t fours[8];  // sums of four codes
    _mm256_store_si256(reinterpret_cast<__m256i*>(fours),
                       _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), codes));
    for (int i = 0; i < 8; i += chunk / 4) {
      int32_t sum = 0;
      for (int k = i; k < i + chunk / 4; ++k) sum += fours[k];
      out.sums[(first + 4 * i) / chunk] = sum;
    }
  }
}

}  // namespace

void fill_avx512(UniformGemvKernels& kernels) { kernels = {quantize, gemv, decode_tile}; }

}  // namespace bitsmith
