// What AVX2 has for gvq_lookup_impl.h, with or without AVX-VNNI; included once by each set's file,
// everything in an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include "kernels/gvq_lookup.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {
namespace {

inline __m256i load_bytes(const void* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// Half of a packet: positions 32 h .. 32 h + 31.
inline __m256i load_pairs_of_bits(const uint8_t* p, int half) {
  const __m128i bytes = _mm_srl_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)),
                                      _mm_cvtsi32_si128(4 * half));
  return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(bytes, 2), bytes), _mm256_set1_epi8(3));
}

inline __m256i load_nibbles(const uint8_t* p, int half) {
  return _mm256_and_si256(_mm256_srl_epi16(load_bytes(p), _mm_cvtsi32_si128(4 * half)),
                          _mm256_set1_epi8(15));
}

// One coordinate of the centroids, plus the bias: 0, or 128 to have no sign.
template <int kBits, int kBias>
struct ByteTable {
  static constexpr int kRegisters = kBits == 6 ? 4 : 1;
  explicit ByteTable(const int8_t* values, int bias = kBias) {
    const __m128i sign = _mm_set1_epi8(static_cast<char>(bias));
    for (int i = 0; i < kRegisters; ++i) {
      const __m128i few = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values + 16 * i));
      part[i] = _mm256_broadcastsi128_si256(_mm_xor_si128(few, sign));
    }
  }
  __m256i operator[](__m256i codes) const {
    if constexpr (kBits <= 4) return _mm256_shuffle_epi8(part[0], codes);
    const __m256i within = _mm256_and_si256(codes, _mm256_set1_epi8(15));
    const __m256i bit4 = _mm256_slli_epi16(codes, 3), bit5 = _mm256_slli_epi16(codes, 2);
    const auto quarter = [&](int i) { return _mm256_shuffle_epi8(part[i], within); };
    return _mm256_blendv_epi8(_mm256_blendv_epi8(quarter(0), quarter(1), bit4),
                              _mm256_blendv_epi8(quarter(2), quarter(3), bit4), bit5);
  }
  void replace(__m256i mask, const ByteTable& other) {
    part[0] = _mm256_blendv_epi8(part[0], other.part[0], mask);
  }
  __m256i part[kRegisters];
};

struct Avx2Packets : Simd {
  static constexpr int kParts = 2;  // registers of a packet
  static constexpr int kRows = 1;   // at a time: the tables take most registers

  // kCount bits of each byte, from bit kFirst on.
  template <int kFirst, int kCount>
  static __m256i take_bits(__m256i bytes) {
    return _mm256_and_si256(_mm256_srli_epi16(bytes, kFirst), _mm256_set1_epi8((1 << kCount) - 1));
  }
  // Of each byte the two bits of `high` from bit kHigh on above the four of `low` from kLow on.
  template <int kHigh, int kLow>
  static __m256i six_bits(__m256i high, __m256i low) {
    return _mm256_or_si256(_mm256_slli_epi16(take_bits<kHigh, 2>(high), 4),
                           take_bits<kLow, 4>(low));
  }
  template <int kBits>
  static __m256i load_codes(const uint8_t* p, int half) {
    if constexpr (kBits == 2) return load_pairs_of_bits(p, half);
    if constexpr (kBits == 4) return load_nibbles(p, half);
    if constexpr (kBits == 6) {
      const __m256i high = _mm256_slli_epi16(load_pairs_of_bits(p, half), 4);
      return _mm256_or_si256(high, load_nibbles(p + 16, half));
    }
  }
  struct Scales {
    explicit Scales(const float* p) : low(_mm256_loadu_ps(p)), high(_mm256_loadu_ps(p + 8)) {}
    __m256 look_up(int32_t packed, const int32_t* shifts) const {
      const __m256i at = _mm256_srlv_epi32(_mm256_set1_epi32(packed), load_bytes(shifts));
      const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(at, 28));  // bit 3 as the sign
      return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, at), _mm256_permutevar8x32_ps(high, at),
                              upper);
    }
    __m256 low, high;
  };
};

}  // namespace
}  // namespace bitsmith
