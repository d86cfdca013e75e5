#include <immintrin.h>

#include "kernels/additive_lookup.h"

namespace bitsmith {
namespace {

constexpr int64_t kMaxInputs = kLookupSet * 64;  // of a table set, at the largest group size

// Four registers of 32-bit sums, centroids in lookup_place() order, to 64 entries of both planes.
void store_entries(const __m512i sums[4], uint8_t* table) {
  // Upper halves of two registers side by side, then their bytes likewise.
  const __m512i upper_half = _mm512_set1_epi32(-65536), upper_byte = _mm512_set1_epi16(-256);
  constexpr int kSelect = 0xca;  // bit of b where the mask (first operand) has one, else of c
  __m512i words[2];
  for (int i = 0; i < 2; ++i) {
    words[i] = _mm512_ternarylogic_epi32(upper_half, sums[2 * i + 1],
                                         _mm512_srli_epi32(sums[2 * i], 16), kSelect);
  }
  const __m512i low =
      _mm512_ternarylogic_epi32(upper_byte, _mm512_slli_epi16(words[1], 8), words[0], kSelect);
  const __m512i high =
      _mm512_ternarylogic_epi32(upper_byte, words[1], _mm512_srli_epi16(words[0], 8), kSelect);
  _mm512_store_si512(table, low);
  _mm512_store_si512(table + kLookupEntries, high);
}

// The tables of one codebook for J neighboring groups, which share the loads of the codebook.
// x: pairs of inputs. Pairs is their number a group where it is known at compile time, else 0.
template <int J, int Pairs>
void build_group_tables(const int16_t* codebook, int64_t pairs_per_group, const int32_t* x,
                        uint8_t* tables, int64_t table_stride) {
  const int64_t pairs = Pairs > 0 ? Pairs : pairs_per_group;
  for (int64_t e = 0; e < kLookupEntries; e += 64) {
    __m512i sums[J][4];
    for (int j = 0; j < J; ++j) {
      for (int k = 0; k < 4; ++k) sums[j][k] = _mm512_set1_epi32(static_cast<int>(0x80008000u));
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
    for (int j = 0; j < J; ++j) store_entries(sums[j], tables + j * table_stride + e);
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

template <int Pairs>
void build_all(const LookupLayout& w, int64_t count, const int32_t* x, uint8_t* tables,
               Prefetch prefetch) {
  const int64_t pairs = (w.in_group_size + 1) / 2, stride = w.num_codebooks * kLookupTable;
  for (int m = 0; m < w.num_codebooks; ++m) {
    const int16_t* codebook = w.codebooks + m * pairs * 2 * kLookupEntries;
    uint8_t* table = tables + m * kLookupTable;
    int64_t j = 0;
    for (; j + 2 <= count; j += 2) {
      prefetch.lines(2 * kAhead / 64 / kLookupSet);
      build_group_tables<2, Pairs>(codebook, pairs, x + j * pairs, table + j * stride, stride);
    }
    if (j < count) {
      build_group_tables<1, Pairs>(codebook, pairs, x + j * pairs, table + j * stride, stride);
    }
  }
}

__mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>(count < 16 ? (1u << count) - 1 : 0xffffu);
}

float squared_norm(const float* x, int64_t count) {
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; i += 16) {
    const __m512 v = _mm512_maskz_loadu_ps(first_lanes(count - i), x + i);
    sum = _mm512_fmadd_ps(v, v, sum);
  }
  return _mm512_reduce_add_ps(sum);
}

int64_t set_count(const LookupLayout& w, int64_t set) {
  const int64_t left = w.groups - set * w.set_groups;
  return left < w.set_groups ? left : w.set_groups;
}

const uint8_t* set_codes(const LookupLayout& w, int64_t set) {
  return w.codes + set * w.set_groups * w.num_codebooks * w.bundles * kLookupRows;
}

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
    build_all<4>(w, count, pairs, tables, prefetch);
  } else {
    build_all<0>(w, count, pairs, tables, prefetch);
  }
  return norm / kLookupNorm * w.codebook_step * 65536;
}

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

// 16 rows: sums += step * (low + 256 high - offset).
void add_rows(__m256i low, __m256i high, __m512i offset, __m512 step, float* sums) {
  const __m512i total =
      _mm512_sub_epi32(_mm512_add_epi32(_mm512_cvtepu16_epi32(low),
                                        _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 8)),
                       offset);
  _mm512_storeu_ps(sums, _mm512_fmadd_ps(_mm512_cvtepi32_ps(total), step, _mm512_loadu_ps(sums)));
}

// N bundles at a time share the loads of the tables.
template <int N>
void add_bundles(const uint8_t* codes, int64_t lookups, const uint8_t* tables, float step,
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
      add_rows(_mm512_castsi512_si256(l), _mm512_castsi512_si256(h), offset, steps, out);
      add_rows(_mm512_extracti64x4_epi64(l, 1), _mm512_extracti64x4_epi64(h, 1), offset, steps,
               out + 16);
    }
  }
}

void add_lookups(const LookupLayout& w, int64_t set, const uint8_t* tables, float step,
                 float* sums) {
  const int64_t lookups = set_count(w, set) * w.num_codebooks;
  const uint8_t* codes = w.codes + set * w.set_groups * w.num_codebooks * w.bundles * kLookupRows;
  int64_t b = 0;
  for (; b + 2 <= w.bundles; b += 2) {
    add_bundles<2>(codes + b * lookups * kLookupRows, lookups, tables, step,
                   sums + b * kLookupRows);
  }
  if (b < w.bundles) {
    add_bundles<1>(codes + b * lookups * kLookupRows, lookups, tables, step,
                   sums + b * kLookupRows);
  }
}

}  // namespace

void fill_avx512vbmi(AdditiveLookupKernels& kernels) {
  kernels = {true, build_tables, add_lookups};
}

}  // namespace bitsmith
