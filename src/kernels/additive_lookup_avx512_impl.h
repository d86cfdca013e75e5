// What avx512 and avx512vbmi share: building tables, and the way through bundles. A Form has
//   kRounding                              of each 32-bit sum before the first product
//   store_entries(sums, table, first)      upper halves of four registers of sums, which are
//                                          centroids [first, first + 64) in lookup_place() order
//   add_bundles<N>(codes, lookups, tables, step, sums)   N bundles, which share loads of tables
#pragma once
#include <immintrin.h>

#include "kernels/additive_lookup.h"

namespace bitsmith {
namespace {

constexpr int64_t kMaxInputs = kLookupSet * 64;  // of a table set, at the largest group size
constexpr int kSelect = 0xca;  // vpternlog: bit of b where the first operand has one, else of c

// Upper halves of two registers side by side: those of `odd` are the upper words.
inline __m512i join_upper_halves(__m512i even, __m512i odd) {
  return _mm512_ternarylogic_epi32(_mm512_set1_epi32(-65536), odd, _mm512_srli_epi32(even, 16),
                                   kSelect);
}

// 16 rows: sums += step * total.
inline void add_rows(__m512i total, __m512 step, float* sums) {
  _mm512_storeu_ps(sums, _mm512_fmadd_ps(_mm512_cvtepi32_ps(total), step, _mm512_loadu_ps(sums)));
}

// The tables of one codebook for J neighboring groups, which share the loads of the codebook.
// x: pairs of inputs. Pairs is their number a group where it is known at compile time, else 0.
template <typename Form, int J, int Pairs>
void build_group_tables(const int16_t* codebook, int64_t pairs_per_group, const int32_t* x,
                        uint8_t* tables, int64_t table_stride) {
  const int64_t pairs = Pairs > 0 ? Pairs : pairs_per_group;
  for (int64_t e = 0; e < kLookupEntries; e += 64) {
    __m512i sums[J][4];
    for (int j = 0; j < J; ++j) {
      for (int k = 0; k < 4; ++k) sums[j][k] = _mm512_set1_epi32(Form::kRounding);
    }
    for (int64_t i = 0; i < pairs; ++i) {
      const int16_t* centroids = codebook + 2 * (i * kLookupEntries + e);
      __m512i v[4];
      for (int k = 0; k < 4; ++k) v[k] = _mm512_load_si512(centroids + 32 * k);
      for (int j = 0; j < J; ++j) {
        const __m512i in = _mm512_set1_epi32(x[j * pairs + i]);
        for (int k = 0; k < 4; ++k) sums[j][k] = _mm512_dpwssd_epi32(sums[j][k], v[k], in);
      }
    }
    for (int j = 0; j < J; ++j) Form::store_entries(sums[j], tables + j * table_stride, e);
  }
}

// The lookups fetch codes this many bytes ahead; the first ones while the tables are computed.
constexpr int64_t kAhead = 4096;
struct Prefetch {
  const uint8_t* next;
  const uint8_t* end;

  void lines(int64_t count) {
    for (; count > 0 && next < end; --count, next += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T1);
    }
  }
};

template <typename Form, int Pairs>
void build_all(const LookupLayout& w, int64_t count, const int32_t* x, uint8_t* tables,
               Prefetch prefetch) {
  const int64_t pairs = (w.in_group_size + 1) / 2, stride = w.num_codebooks * kLookupTable;
  for (int m = 0; m < w.num_codebooks; ++m) {
    const int16_t* codebook = w.codebooks + m * pairs * 2 * kLookupEntries;
    uint8_t* table = tables + m * kLookupTable;
    int64_t j = 0;
    for (; j + 2 <= count; j += 2) {
      prefetch.lines(2 * kAhead / 64 / kLookupSet);
      build_group_tables<Form, 2, Pairs>(codebook, pairs, x + j * pairs, table + j * stride,
                                         stride);
    }
    if (j < count) {
      build_group_tables<Form, 1, Pairs>(codebook, pairs, x + j * pairs, table + j * stride,
                                         stride);
    }
  }
}

inline __mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>(count < 16 ? (1u << count) - 1 : 0xffffu);
}

inline float squared_norm(const float* x, int64_t count) {
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; i += 16) {
    const __m512 v = _mm512_maskz_loadu_ps(first_lanes(count - i), x + i);
    sum = _mm512_fmadd_ps(v, v, sum);
  }
  return _mm512_reduce_add_ps(sum);
}

inline int64_t set_count(const LookupLayout& w, int64_t set) {
  const int64_t left = w.groups - set * w.set_groups;
  return left < w.set_groups ? left : w.set_groups;
}

inline const uint8_t* set_codes(const LookupLayout& w, int64_t set) {
  return w.codes + set * w.set_groups * w.num_codebooks * w.bundles * kLookupRows;
}

template <typename Form>
float build_tables(const LookupLayout& w, const float* x, int64_t set, uint8_t* tables) {
  const int64_t count = set_count(w, set), size = w.in_group_size;
  x += set * w.set_groups * size;
  float largest = 0;
  for (int64_t j = 0; j < count; ++j) {
    const float square = squared_norm(x + j * size, size);
    largest = square > largest ? square : largest;
  }
  const float norm = __builtin_sqrtf(largest);
  const __m512 inverse = _mm512_set1_ps(norm > 0 ? kLookupNorm / norm : 0);

  const int64_t padded = (size + 1) / 2 * 2;
  alignas(64) int16_t inputs[kMaxInputs];
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t i = 0; i < size; i += 16) {
      const __m512 v = _mm512_maskz_loadu_ps(first_lanes(size - i), x + j * size + i);
      _mm512_mask_cvtsepi32_storeu_epi16(inputs + j * padded + i, first_lanes(padded - i),
                                         _mm512_cvtps_epi32(_mm512_mul_ps(v, inverse)));
    }
  }
  int32_t pairs[kMaxInputs / 2];
  __builtin_memcpy(pairs, inputs, static_cast<size_t>(2 * count * padded));

  const uint8_t* codes = set_codes(w, set);
  const Prefetch prefetch = {codes, codes + kAhead};
  if (size == 8) {
    build_all<Form, 4>(w, count, pairs, tables, prefetch);
  } else {
    build_all<Form, 0>(w, count, pairs, tables, prefetch);
  }
  return norm / kLookupNorm * w.codebook_step * 65536;
}

template <typename Form>
void add_lookups(const LookupLayout& w, int64_t set, const uint8_t* tables, float step,
                 float* sums) {
  const int64_t lookups = set_count(w, set) * w.num_codebooks;
  const uint8_t* codes = set_codes(w, set);
  int64_t b = 0;
  for (; b + 2 <= w.bundles; b += 2) {
    Form::template add_bundles<2>(codes + b * lookups * kLookupRows, lookups, tables, step,
                                  sums + b * kLookupRows);
  }
  if (b < w.bundles) {
    Form::template add_bundles<1>(codes + b * lookups * kLookupRows, lookups, tables, step,
                                  sums + b * kLookupRows);
  }
}

}  // namespace
}  // namespace bitsmith
