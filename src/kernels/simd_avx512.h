// The registers of AVX-512; see simd_avx2.h. Included by *_avx512.cpp only.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace bitsmith {
namespace {

struct Simd {
  static constexpr int kLanes = 16;
  static constexpr int kRegisters = 32;
  using Floats = __m512;
  using Words = __m512i;
  using Mask = __mmask16;

  static Floats zeros() { return _mm512_setzero_ps(); }
  static Floats broadcast(float x) { return _mm512_set1_ps(x); }
  static Words broadcast(int32_t x) { return _mm512_set1_epi32(x); }
  static Words lane_index() {
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  }
  static Mask first_lanes(int64_t count) { return static_cast<Mask>((1u << count) - 1); }

  static Floats load(const float* p) { return _mm512_loadu_ps(p); }
  static Floats load_first(const float* p, int64_t count) {
    return _mm512_maskz_loadu_ps(first_lanes(count), p);
  }
  static Floats load_bf16(const uint16_t* p) {
    return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Floats load_bf16_first(const uint16_t* p, int64_t count) {
    return widen(_mm256_maskz_loadu_epi16(first_lanes(count), p));
  }
  static Floats load_fp16(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Floats load_int8(const int8_t* p) {
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
  static void store(int32_t* p, Words v) { _mm512_storeu_si512(p, v); }
  static void store_first(float* p, Floats v, int64_t count) {
    _mm512_mask_storeu_ps(p, first_lanes(count), v);
  }
  static void store_halves(uint16_t* p, Words v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(v));
  }

  static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
  static Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  static Floats abs(Floats a) { return _mm512_abs_ps(a); }
  static Mask less(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static Mask less(Words a, Words b) { return _mm512_cmplt_epi32_mask(a, b); }
  static Mask is_nan(Floats a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
  static Floats select(Mask where, Floats a, Floats b) { return _mm512_mask_mov_ps(b, where, a); }
  static Floats select_negative(Floats x, Floats a, Floats b) {
    return select(_mm512_movepi32_mask(bits(x)), a, b);
  }
  static Words select(Mask where, Words a, Words b) { return _mm512_mask_mov_epi32(b, where, a); }
  static Floats keep(Floats a, Mask inside) { return _mm512_maskz_mov_ps(inside, a); }
  static Words keep(Words a, Mask inside) { return _mm512_maskz_mov_epi32(inside, a); }
  static Floats drop(Floats a, Mask where) { return keep(a, static_cast<Mask>(~where)); }
  static Words drop(Words a, Mask where) { return keep(a, static_cast<Mask>(~where)); }

  static Words bits(Floats a) { return _mm512_castps_si512(a); }
  static Floats from_bits(Words a) { return _mm512_castsi512_ps(a); }
  static Floats to_floats(Words a) { return _mm512_cvtepi32_ps(a); }
  static Words add(Words a, Words b) { return _mm512_add_epi32(a, b); }
  static Words subtract(Words a, Words b) { return _mm512_sub_epi32(a, b); }
  static Words multiply(Words a, Words b) { return _mm512_mullo_epi32(a, b); }
  static Words either(Words a, Words b) { return _mm512_or_si512(a, b); }
  static Words both(Words a, Words b) { return _mm512_and_si512(a, b); }
  template <int kBits>
  static Words shift_left(Words a) {
    return _mm512_slli_epi32(a, kBits);
  }
  template <int kBits>
  static Words shift_right(Words a) {
    return _mm512_srli_epi32(a, kBits);
  }

  // to[stride k + i] = lane k of rows[i]: 16 x 16 numbers of 32 bits, transposed. Moves bits only.
  static void transpose(const Floats rows[kLanes], float* to, int64_t stride) {
    Floats pairs[16],
        fours[16];  // fours[i + k]: rows i .. i + 3 of columns k, 4 + k, 8 + k, 12 + k
    for (int i = 0; i < 16; i += 2) {
      pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
      pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
      fours[i] = _mm512_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
      fours[i + 1] = _mm512_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
      fours[i + 2] = _mm512_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
      fours[i + 3] = _mm512_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
    }
    for (int k = 0; k < 4; ++k) {
      const Floats even_low = _mm512_shuffle_f32x4(fours[k], fours[k + 4], 0x88);
      const Floats odd_low = _mm512_shuffle_f32x4(fours[k], fours[k + 4], 0xdd);
      const Floats even_high = _mm512_shuffle_f32x4(fours[k + 8], fours[k + 12], 0x88);
      const Floats odd_high = _mm512_shuffle_f32x4(fours[k + 8], fours[k + 12], 0xdd);
      store(to + k * stride, _mm512_shuffle_f32x4(even_low, even_high, 0x88));
      store(to + (k + 4) * stride, _mm512_shuffle_f32x4(odd_low, odd_high, 0x88));
      store(to + (k + 8) * stride, _mm512_shuffle_f32x4(even_low, even_high, 0xdd));
      store(to + (k + 12) * stride, _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd));
    }
  }

  static float sum_lanes(Floats v) { return _mm512_reduce_add_ps(v); }
  static float max_lane(Floats v) { return _mm512_reduce_max_ps(v); }
  static float min_lane(Floats v) { return _mm512_reduce_min_ps(v); }

 private:
  static Floats widen(__m256i bf16) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16));
  }
};

}  // namespace
}  // namespace bitsmith
