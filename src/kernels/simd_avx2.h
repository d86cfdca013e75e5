// The registers of AVX2, FMA and F16C, as the one-source kernels (*_impl.h) use them: Floats and
// Words (int32) of kLanes lanes. Floats have the operators + - * / of the compiler.
// The other simd_*.h have the same members. Included by *_avx2.cpp and *_avxvnni.cpp only,
// everything in an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace bitsmith {
namespace {

struct Simd {
  static constexpr int kLanes = 8;
  static constexpr int kRegisters = 16;
  using Floats = __m256;
  using Words = __m256i;
  using Mask = __m256i;  // a lane's bits are all ones or all zeros

  static Floats zeros() { return _mm256_setzero_ps(); }
  static Floats broadcast(float x) { return _mm256_set1_ps(x); }
  static Words broadcast(int32_t x) { return _mm256_set1_epi32(x); }
  static Words lane_index() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
  // The first `count` <= kLanes lanes.
  static Mask first_lanes(int64_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane_index());
  }

  // Memory at any address. With a count: that many values; lanes beyond are zeros.
  static Floats load(const float* p) { return _mm256_loadu_ps(p); }
  static Floats load_first(const float* p, int64_t count) {
    return _mm256_maskload_ps(p, first_lanes(count));
  }
  static Floats load_bf16(const uint16_t* p) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  static Floats load_bf16_first(const uint16_t* p, int64_t count) {
    uint16_t padded[kLanes] = {};
    __builtin_memcpy(padded, p, sizeof(uint16_t) * static_cast<size_t>(count));
    return load_bf16(padded);
  }
  static Floats load_fp16(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Floats load_int8(const int8_t* p) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
  static void store(int32_t* p, Words v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  static void store_first(float* p, Floats v, int64_t count) {
    _mm256_maskstore_ps(p, first_lanes(count), v);
  }
  // Lanes of 16 bits.
  static void store_halves(uint16_t* p, Words v) {
    const __m128i both =
        _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), both);
  }

  static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }  // a < b ? a : b
  static Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }  // a > b ? a : b
  static Floats abs(Floats a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
  static Mask less(Floats a, Floats b) {
    return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_LT_OQ));
  }
  static Mask less(Words a, Words b) { return _mm256_cmpgt_epi32(b, a); }
  static Mask is_nan(Floats a) { return _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q)); }
  static Floats select(Mask where, Floats a, Floats b) {
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(where));
  }
  // a where x has its sign bit set.
  static Floats select_negative(Floats x, Floats a, Floats b) { return _mm256_blendv_ps(b, a, x); }
  static Words select(Mask where, Words a, Words b) { return _mm256_blendv_epi8(b, a, where); }
  static Floats keep(Floats a, Mask inside) {
    return _mm256_and_ps(a, _mm256_castsi256_ps(inside));
  }
  static Words keep(Words a, Mask inside) { return _mm256_and_si256(a, inside); }
  static Floats drop(Floats a, Mask where) {
    return _mm256_andnot_ps(_mm256_castsi256_ps(where), a);
  }
  static Words drop(Words a, Mask where) { return _mm256_andnot_si256(where, a); }

  static Words bits(Floats a) { return _mm256_castps_si256(a); }
  static Floats from_bits(Words a) { return _mm256_castsi256_ps(a); }
  static Floats to_floats(Words a) { return _mm256_cvtepi32_ps(a); }
  static Words add(Words a, Words b) { return _mm256_add_epi32(a, b); }
  static Words subtract(Words a, Words b) { return _mm256_sub_epi32(a, b); }
  static Words multiply(Words a, Words b) { return _mm256_mullo_epi32(a, b); }
  static Words either(Words a, Words b) { return _mm256_or_si256(a, b); }
  static Words both(Words a, Words b) { return _mm256_and_si256(a, b); }
  template <int kBits>
  static Words shift_left(Words a) {
    return _mm256_slli_epi32(a, kBits);
  }
  template <int kBits>  // unsigned
  static Words shift_right(Words a) {
    return _mm256_srli_epi32(a, kBits);
  }

  // Lanes of dot + the sum of four products of bytes, a's without a sign and at most 128, so that
  // sums of two products fit 16 bits.
  static Words add_byte_products(Words dot, Words a, Words b) {
    return add(dot, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)));
  }

  // to[stride k + i] = lane k of rows[i]: 8 x 8 numbers of 32 bits, transposed. Moves bits only.
  static void transpose(const Floats rows[kLanes], float* to, int64_t stride) {
    Floats pairs[8], fours[8];
    for (int i = 0; i < 8; i += 2) {
      pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
      pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
      fours[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
      fours[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
      fours[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
      fours[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
    }
    for (int i = 0; i < 4; ++i) {
      store(to + i * stride, _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20));
      store(to + (i + 4) * stride, _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31));
    }
  }

  static float sum_lanes(Floats v) {
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
  }
  static float max_lane(Floats v) {
    __m128 most = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    most = _mm_max_ps(most, _mm_movehl_ps(most, most));
    return _mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most)));
  }
  static float min_lane(Floats v) {
    __m128 least = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    least = _mm_min_ps(least, _mm_movehl_ps(least, least));
    return _mm_cvtss_f32(_mm_min_ss(least, _mm_movehdup_ps(least)));
  }
};

}  // namespace
}  // namespace bitsmith
