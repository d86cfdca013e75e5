#include <immintrin.h>

#include "runtime/kernels/additive_lookup.h"

namespace bitsmith {
namespace {

// Four registers of 32-bit levels, in lookup_place() order, to 64 entries of both planes.
void store_entries(const __m512 level[4], uint8_t* table) {
  __m512i words[2];
  for (int i = 0; i < 2; ++i) {
    words[i] =
        _mm512_packs_epi32(_mm512_cvtps_epi32(level[2 * i]), _mm512_cvtps_epi32(level[2 * i + 1]));
    words[i] = _mm512_xor_si512(words[i], _mm512_set1_epi16(-32768));  // + 32768
  }
  const __m512i byte = _mm512_set1_epi16(255);
  const __m512i low =
      _mm512_packus_epi16(_mm512_and_si512(words[0], byte), _mm512_and_si512(words[1], byte));
  const __m512i high =
      _mm512_packus_epi16(_mm512_srli_epi16(words[0], 8), _mm512_srli_epi16(words[1], 8));
  _mm512_store_si512(table, low);
  _mm512_store_si512(table + kLookupEntries, high);
}

// The tables of one codebook for J neighbouring groups, which share the loads of the codebook.
// Size is G where it is known at compile time, else 0.
template <int J, int Size>
void build_group_tables(const float* codebook, int64_t group_size, const float* x, float inverse,
                        uint8_t* tables, int64_t table_stride) {
  const int64_t size = Size > 0 ? Size : group_size;
  __m512 input[J][Size > 0 ? Size : 1];
  if constexpr (Size > 0) {
    for (int j = 0; j < J; ++j) {
      for (int i = 0; i < Size; ++i) input[j][i] = _mm512_set1_ps(x[j * size + i] * inverse);
    }
  }
  for (int64_t e = 0; e < kLookupEntries; e += 64) {
    __m512 level[J][4];
    for (int j = 0; j < J; ++j) {
      for (int k = 0; k < 4; ++k) level[j][k] = _mm512_setzero_ps();
    }
#pragma GCC unroll 8
    for (int64_t i = 0; i < size; ++i) {
      const float* vectors = codebook + i * kLookupEntries + e;
      __m512 v[4];
      for (int k = 0; k < 4; ++k) v[k] = _mm512_load_ps(vectors + 16 * k);
      for (int j = 0; j < J; ++j) {
        const __m512 in = Size > 0 ? input[j][i] : _mm512_set1_ps(x[j * size + i] * inverse);
        for (int k = 0; k < 4; ++k) level[j][k] = _mm512_fmadd_ps(v[k], in, level[j][k]);
      }
    }
    for (int j = 0; j < J; ++j) store_entries(level[j], tables + j * table_stride + e);
  }
}

template <int Size>
void build_all(const LookupLayout& w, int64_t count, const float* x, float inverse,
               uint8_t* tables) {
  const int64_t size = w.in_group_size, stride = w.num_codebooks * kLookupTable;
  for (int m = 0; m < w.num_codebooks; ++m) {
    const float* codebook = w.codebooks + m * size * kLookupEntries;
    uint8_t* table = tables + m * kLookupTable;
    int64_t j = 0;
    for (; j + 2 <= count; j += 2) {
      build_group_tables<2, Size>(codebook, size, x + j * size, inverse, table + j * stride,
                                  stride);
    }
    if (j < count) {
      build_group_tables<1, Size>(codebook, size, x + j * size, inverse, table + j * stride,
                                  stride);
    }
  }
}

float squared_norm(const float* x, int64_t count) {
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; i += 16) {
    const int64_t left = count - i;
    const __mmask16 mask = static_cast<__mmask16>(left < 16 ? (1u << left) - 1 : 0xffffu);
    const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
    sum = _mm512_fmadd_ps(v, v, sum);
  }
  return _mm512_reduce_add_ps(sum);
}

int64_t tile_count(const LookupLayout& w, int64_t tile) {
  const int64_t left = w.groups - tile * w.tile_groups;
  return left < w.tile_groups ? left : w.tile_groups;
}

float build_tables(const LookupLayout& w, const float* x, int64_t tile, uint8_t* tables) {
  const int64_t count = tile_count(w, tile), size = w.in_group_size;
  x += tile * w.tile_groups * size;
  float largest = 0;
  for (int64_t j = 0; j < count; ++j) {
    const float square = squared_norm(x + j * size, size);
    largest = square > largest ? square : largest;
  }
  const float bound = __builtin_sqrtf(largest) * w.largest_norm;
  const float inverse = bound > 0 ? 32767 / bound : 0;
  if (size == 8) {
    build_all<8>(w, count, x, inverse, tables);
  } else {
    build_all<0>(w, count, x, inverse, tables);
  }
  return bound / 32767;
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

// N blocks at a time share the loads of the tables.
template <int N>
void add_blocks(const uint8_t* codes, int64_t lookups, const uint8_t* tables, float step,
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
      const __m512i code = _mm512_load_si512(codes + (n * lookups + k) * kLookupRows);
      const __mmask64 upper = _mm512_movepi8_mask(code);
      low[n].add(lookup(planes[0], code, upper));
      high[n].add(lookup(planes[1], code, upper));
    }
  }
  const __m512i offset = _mm512_set1_epi32(static_cast<int>(lookups) * 32768);
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

void add_lookups(const LookupLayout& w, int64_t tile, const uint8_t* tables, float step,
                 float* sums) {
  const int64_t lookups = tile_count(w, tile) * w.num_codebooks;
  const uint8_t* codes = w.codes + tile * w.tile_groups * w.num_codebooks * w.blocks * kLookupRows;
  int64_t b = 0;
  for (; b + 2 <= w.blocks; b += 2) {
    add_blocks<2>(codes + b * lookups * kLookupRows, lookups, tables, step, sums + b * kLookupRows);
  }
  if (b < w.blocks) {
    add_blocks<1>(codes + b * lookups * kLookupRows, lookups, tables, step, sums + b * kLookupRows);
  }
}

}  // namespace

void fill_avx512(AdditiveLookupKernels& kernels) { kernels = {build_tables, add_lookups}; }

}  // namespace bitsmith
