#include "kernels/gvq_decode_impl.h"
#include "kernels/gvq_lookup_impl.h"
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

// One coordinate of the centroids.
template <int kBits>
struct SignedTable {
  static constexpr int kRegisters = kBits == 6 ? 4 : 1;
  explicit SignedTable(const int8_t* values, int = 0) {  // never biased
    for (int i = 0; i < kRegisters; ++i) {
      part[i] = _mm256_broadcastsi128_si256(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(values + 16 * i)));
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
  void replace(__m256i mask, const SignedTable& other) {
    part[0] = _mm256_blendv_epi8(part[0], other.part[0], mask);
  }
  __m256i part[kRegisters];
};

struct Avx2 : Simd {
  static constexpr int kParts = 2;  // registers of a packet
  template <int kBits>
  using Table = SignedTable<kBits>;

  // kCount bits of each byte, from bit kFirst on.
  template <int kFirst, int kCount>
  static __m256i take_bits(__m256i bytes) {
    return _mm256_and_si256(_mm256_srli_epi16(bytes, kFirst), _mm256_set1_epi8((1 << kCount) - 1));
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
  static __m256i start(const int32_t*) { return _mm256_setzero_si256(); }
  // Lanes of four products: |values| is at most 128, so that sums of two fit 16 bits.
  static __m256i add_products(__m256i dot, __m256i values, const int8_t* inputs) {
    const __m256i pairs =
        _mm256_maddubs_epi16(_mm256_abs_epi8(values), _mm256_sign_epi8(load_bytes(inputs), values));
    return _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
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

void multiply(const GvqLookupTiles& tiles, int64_t rows, const GvqLookupInput& x, float* sums) {
  if (tiles.code_bits == 2) return multiply_bits<Avx2, 2>(tiles, rows, x, sums);
  if (tiles.code_bits == 4) return multiply_bits<Avx2, 4>(tiles, rows, x, sums);
  multiply_bits<Avx2, 6>(tiles, rows, x, sums);
}

void decode(const GvqStripRows* strips, int64_t count, int64_t places, int8_t* codes) {
  const int code_bits = strips->tiles.code_bits;
  if (code_bits == 2) return decode_bits<Avx2, 2>(strips, count, places, codes);
  if (code_bits == 4) return decode_bits<Avx2, 4>(strips, count, places, codes);
  decode_bits<Avx2, 6>(strips, count, places, codes);
}

}  // namespace

void fill_avx2(GvqLookupKernels& kernels) { kernels = {6, multiply, decode, decode_scales<Avx2>}; }

}  // namespace bitsmith
