#include "kernels/additive_lookup_avx512_impl.h"

namespace bitsmith {
namespace {

// 32 entries out of 256 by the lower bytes of 32 words. A permutation takes 64 entries by six bits
// of a code; under a mask it leaves the other codes as they are, for the next one.
inline __m512i look_up(const __m512i table[8], __m512i codes, __mmask32 bit6, __mmask32 bit7) {
  const __mmask32 no_bit6 = _knot_mask32(bit6);
  const auto half = [&](const __m512i* part) __attribute__((always_inline)) {
    const __m512i some = _mm512_mask2_permutex2var_epi16(part[0], codes, no_bit6, part[1]);
    return _mm512_mask2_permutex2var_epi16(part[2], some, bit6, part[3]);
  };
  return _mm512_mask_blend_epi16(bit7, half(table), half(table + 4));
}

// The entries of a bundle in one table: rows 0..31 by the lower bytes of words, 32..63 by the
// upper.
struct Entries {
  void add(const Entries& others) {
    lower = _mm512_add_epi16(lower, others.lower);
    upper = _mm512_add_epi16(upper, others.upper);
  }
  __m512i lower, upper;
};

inline Entries look_up_bundle(const __m512i table[8], const uint8_t* bundle) {
  const __m512i codes = _mm512_load_si512(bundle);
  _mm_prefetch(reinterpret_cast<const char*>(bundle + kAhead), _MM_HINT_T1);
  return {
      look_up(table, codes, _mm512_test_epi16_mask(codes, _mm512_set1_epi16(0x40)),
              _mm512_test_epi16_mask(codes, _mm512_set1_epi16(0x80))),
      look_up(table, _mm512_srli_epi16(codes, 8),
              _mm512_movepi16_mask(_mm512_add_epi16(codes, codes)), _mm512_movepi16_mask(codes))};
}

// Sums of words in 32-bit lanes, those of even rows and of odd rows.
struct WordSums {
  __m512i even = _mm512_setzero_si512(), odd = _mm512_setzero_si512();

  void add(__m512i words) {
    even = _mm512_dpwssd_epi32(even, words, _mm512_set1_epi32(1));
    odd = _mm512_dpwssd_epi32(odd, words, _mm512_set1_epi32(1 << 16));
  }
  // Adds step times the sums of 32 rows.
  void add_to(float* sums, __m512 step) const {
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    add_rows(_mm512_permutex2var_epi32(even, first, odd), step, sums);
    add_rows(_mm512_permutex2var_epi32(even, second, odd), step, sums + 16);
  }
};

// Words are looked up: 256 entries are eight registers.
struct Words {
  static constexpr int kRounding = 0x8000;
  static void store_entries(const __m512i sums[4], uint8_t* table, int64_t first) {
    for (int i = 0; i < 2; ++i) {
      _mm512_store_si512(table + 2 * first + 64 * i,
                         join_upper_halves(sums[2 * i], sums[2 * i + 1]));
    }
  }

  // Two entries are added in 16 bits, see kLookupMost.
  template <int N>
  static void add_bundles(const uint8_t* codes, int64_t lookups, const uint8_t* tables, float step,
                          float* sums) {
    WordSums lower[N], upper[N];
    const auto add = [&](int n, const Entries& entries) __attribute__((always_inline)) {
      lower[n].add(entries.lower);
      upper[n].add(entries.upper);
    };
    __m512i table[8];
    const auto load_table = [&]() __attribute__((always_inline)) {
      for (int i = 0; i < 8; ++i) table[i] = _mm512_load_si512(tables + 64 * i);
      tables += kLookupTable;
    };
    int64_t left = lookups;
    for (; left >= 2; left -= 2, codes += 2 * N * kLookupRows) {
      Entries both[N];
      load_table();
      for (int n = 0; n < N; ++n) both[n] = look_up_bundle(table, codes + n * kLookupRows);
      load_table();
      for (int n = 0; n < N; ++n) {
        both[n].add(look_up_bundle(table, codes + (N + n) * kLookupRows));
        add(n, both[n]);
      }
    }
    if (left > 0) {
      load_table();
      for (int n = 0; n < N; ++n) add(n, look_up_bundle(table, codes + n * kLookupRows));
    }
    const __m512 steps = _mm512_set1_ps(step);
    for (int n = 0; n < N; ++n) {
      lower[n].add_to(sums + n * kLookupRows, steps);
      upper[n].add_to(sums + n * kLookupRows + 32, steps);
    }
  }
};

}  // namespace

void fill_avx512(AdditiveLookupKernels& kernels) {
  kernels = {true, LookupForm::words, build_tables<Words>, add_lookups<Words>};
}

}  // namespace bitsmith
