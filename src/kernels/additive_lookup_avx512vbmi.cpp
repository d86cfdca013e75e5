#include "kernels/additive_lookup_avx512_impl.h"

namespace bitsmith {
namespace {

// Bytes are looked up: 256 of a plane are four registers.
struct Planes {
  static constexpr int kRounding = static_cast<int>(0x80008000u);
  static void store_entries(const __m512i sums[4], uint8_t* table, int64_t first) {
    const __m512i upper_byte = _mm512_set1_epi16(-256);
    const __m512i words[2] = {join_upper_halves(sums[0], sums[1]),
                              join_upper_halves(sums[2], sums[3])};
    const __m512i low =
        _mm512_ternarylogic_epi32(upper_byte, _mm512_slli_epi16(words[1], 8), words[0], kSelect);
    const __m512i high =
        _mm512_ternarylogic_epi32(upper_byte, words[1], _mm512_srli_epi16(words[0], 8), kSelect);
    _mm512_store_si512(table + first, low);
    _mm512_store_si512(table + first + kLookupEntries, high);
  }
  template <int N>
  static void add_bundles(const uint8_t* codes, int64_t lookups, const uint8_t* tables, float step,
                          float* sums);
};

// Sums of bytes in 16-bit lanes: `all` adds whole words (even + 256 odd, modulo 2^16), `odd` the
// upper bytes alone.
struct ByteSums {
  __m512i all, odd;

  void add(__m512i bytes) {
    all = _mm512_add_epi16(all, bytes);
    odd = _mm512_add_epi16(odd, _mm512_srli_epi16(bytes, 8));
  }
  __m512i even() const { return _mm512_sub_epi16(all, _mm512_slli_epi16(odd, 8)); }
};

// 64 bytes out of 256 by 64 codes; `upper` is the codes' highest bit.
__m512i lookup(const __m512i table[4], __m512i codes, __mmask64 upper) {
  return _mm512_mask_blend_epi8(upper, _mm512_permutex2var_epi8(table[0], codes, table[1]),
                                _mm512_permutex2var_epi8(table[2], codes, table[3]));
}

// low + 256 high - offset of 16 rows.
__m512i join_bytes(__m256i low, __m256i high, __m512i offset) {
  return _mm512_sub_epi32(_mm512_add_epi32(_mm512_cvtepu16_epi32(low),
                                           _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 8)),
                          offset);
}

template <int N>
void Planes::add_bundles(const uint8_t* codes, int64_t lookups, const uint8_t* tables, float step,
                         float* sums) {
  ByteSums low[N], high[N];
  for (int n = 0; n < N; ++n) {
    low[n] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    high[n] = low[n];
  }
  for (int64_t k = 0; k < lookups; ++k, tables += kLookupTable) {
    __m512i planes[2][4];
    for (int i = 0; i < 8; ++i) planes[i / 4][i % 4] = _mm512_load_si512(tables + 64 * i);
    for (int n = 0; n < N; ++n) {
      const uint8_t* next = codes + (k * N + n) * kLookupRows;
      const __m512i code = _mm512_load_si512(next);
      _mm_prefetch(reinterpret_cast<const char*>(next + kAhead), _MM_HINT_T1);
      const __mmask64 upper = _mm512_movepi8_mask(code);
      low[n].add(lookup(planes[0], code, upper));
      high[n].add(lookup(planes[1], code, upper));
    }
  }
  const __m512i offset = _mm512_set1_epi32(static_cast<int>(lookups) * kLookupZero);
  const __m512 steps = _mm512_set1_ps(step);
  for (int n = 0; n < N; ++n) {
    const __m512i words[2][2] = {{low[n].even(), high[n].even()}, {low[n].odd, high[n].odd}};
    for (int half = 0; half < 2; ++half) {  // rows 0..31, rows 32..63
      float* out = sums + n * kLookupRows + half * 32;
      const __m512i l = words[half][0], h = words[half][1];
      add_rows(join_bytes(_mm512_castsi512_si256(l), _mm512_castsi512_si256(h), offset), steps,
               out);
      add_rows(join_bytes(_mm512_extracti64x4_epi64(l, 1), _mm512_extracti64x4_epi64(h, 1), offset),
               steps, out + 16);
    }
  }
}

}  // namespace

void fill_avx512vbmi(AdditiveLookupKernels& kernels) {
  kernels = {true, LookupForm::planes, build_tables<Planes>, add_lookups<Planes>};
}

}  // namespace bitsmith
