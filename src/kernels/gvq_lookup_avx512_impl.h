// What AVX-512 has for gvq_lookup_impl.h, with or without VBMI; included once by each set's file,
// everything in an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include "kernels/gvq_lookup.h"
#include "kernels/simd_avx512.h"

namespace bitsmith {
namespace {

// Two bits of each of 64 positions.
inline __m512i load_pairs_of_bits(const uint8_t* p) {
  const __m512i bytes =
      _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m512i shifts =
      _mm512_set_epi64(0x0006000600060006, 0x0006000600060006, 0x0004000400040004,
                       0x0004000400040004, 0x0002000200020002, 0x0002000200020002, 0, 0);
  return _mm512_and_si512(_mm512_srlv_epi16(bytes, shifts), _mm512_set1_epi8(3));
}

// Four bits of each of 64 positions; what is above them may be anything.
inline __m512i load_low_nibbles(const uint8_t* p) {
  const __m512i bytes =
      _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_rorv_epi32(bytes,
                           _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4));
}

// Bits 4 and 5 of `high`, the lower ones of `low`; what is above them may be anything.
inline __m512i join_six_bits(__m512i high, __m512i low) {
  constexpr int kSelect = 0xca;  // of the first, where set the second, else the third
  return _mm512_ternarylogic_epi32(_mm512_set1_epi8(15), low, high, kSelect);
}

inline __m512i load_six_bits(const uint8_t* p) {
  const __m512i bytes =
      _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m512i to_bit4 = _mm512_setr_epi32(4, 4, 4, 4, 2, 2, 2, 2, 0, 0, 0, 0, 30, 30, 30, 30);
  return join_six_bits(_mm512_rolv_epi32(bytes, to_bit4), load_low_nibbles(p + 16));
}

struct Avx512Packets : Simd {
  static constexpr int kParts = 1;  // registers of a packet
  static constexpr int kRows = 2;   // at a time
  // kCount bits of each byte, from bit kFirst on.
  template <int kFirst, int kCount>
  static __m512i take_bits(__m512i bytes) {
    return _mm512_and_si512(_mm512_srli_epi16(bytes, kFirst), _mm512_set1_epi8((1 << kCount) - 1));
  }
  // Of each byte the two bits of `high` from bit kHigh on above the four of `low` from kLow on.
  template <int kHigh, int kLow>
  static __m512i six_bits(__m512i high, __m512i low) {
    return join_six_bits(_mm512_rol_epi32(high, (36 - kHigh) % 32), _mm512_ror_epi32(low, kLow));
  }
  template <int kBits>
  static __m512i load_codes(const uint8_t* p, int) {
    if constexpr (kBits == 2) return load_pairs_of_bits(p);
    if constexpr (kBits == 4) return _mm512_and_si512(load_low_nibbles(p), _mm512_set1_epi8(15));
    if constexpr (kBits == 6) return load_six_bits(p);
    if constexpr (kBits == 8) return _mm512_loadu_si512(p);
  }
  // What the tables' 128 will add too much.
  static __m512i start(const int32_t* offsets) { return _mm512_loadu_si512(offsets); }
  static __m512i add_products(__m512i dot, __m512i values, const int8_t* inputs) {
    return _mm512_dpbusd_epi32(dot, values, _mm512_loadu_si512(inputs));
  }
  struct Scales {
    explicit Scales(const float* p) : values(_mm512_loadu_ps(p)) {}
    __m512 look_up(int32_t packed, const int32_t* shifts) const {
      const __m512i at = _mm512_srlv_epi32(_mm512_set1_epi32(packed), _mm512_loadu_si512(shifts));
      return _mm512_permutexvar_ps(at, values);  // by the low four bits
    }
    __m512 values;
  };
};

}  // namespace
}  // namespace bitsmith
