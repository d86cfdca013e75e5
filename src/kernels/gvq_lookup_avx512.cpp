#include "kernels/gvq_decode_impl.h"
#include "kernels/gvq_lookup_impl.h"
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

inline __m512i load_nibbles(const uint8_t* p) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const __m512i halves =
      _mm512_inserti64x4(_mm512_castsi256_si512(bytes), _mm256_srli_epi16(bytes, 4), 1);
  return _mm512_and_si512(halves, _mm512_set1_epi8(15));
}

// One coordinate of the centroids, plus the bias: 0, or 128 to have no sign.
template <int kBits>
struct BiasedTable {
  static constexpr int kRegisters = kBits == 8 ? 4 : 1;
  explicit BiasedTable(const int8_t* values, int bias = 128) {
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(bias));
    if constexpr (kBits <= 4) {
      const __m128i few = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
      part[0] = _mm512_xor_si512(_mm512_broadcast_i32x4(few), sign);
    } else {
      for (int i = 0; i < kRegisters; ++i) {
        part[i] = _mm512_xor_si512(_mm512_loadu_si512(values + 64 * i), sign);
      }
    }
  }
  __m512i operator[](__m512i codes) const {
    if constexpr (kBits <= 4) return _mm512_shuffle_epi8(part[0], codes);
    if constexpr (kBits == 6) return _mm512_permutexvar_epi8(codes, part[0]);
    if constexpr (kBits == 8) {
      const __m512i low = _mm512_permutex2var_epi8(part[0], codes, part[1]);
      const __m512i high = _mm512_permutex2var_epi8(part[2], codes, part[3]);
      return _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), low, high);
    }
  }
  void replace(__mmask16 mask, const BiasedTable& other) {
    part[0] = _mm512_mask_mov_epi32(part[0], mask, other.part[0]);
  }
  __m512i part[kRegisters];
};

struct Avx512 : Simd {
  static constexpr int kParts = 1;  // registers of a packet
  template <int kBits>
  using Table = BiasedTable<kBits>;

  // kCount bits of each byte, from bit kFirst on.
  template <int kFirst, int kCount>
  static __m512i take_bits(__m512i bytes) {
    return _mm512_and_si512(_mm512_srli_epi16(bytes, kFirst), _mm512_set1_epi8((1 << kCount) - 1));
  }
  template <int kBits>
  static __m512i load_codes(const uint8_t* p, int) {
    if constexpr (kBits == 2) return load_pairs_of_bits(p);
    if constexpr (kBits == 4) return load_nibbles(p);
    if constexpr (kBits == 6) {
      return _mm512_or_si512(_mm512_slli_epi16(load_pairs_of_bits(p), 4), load_nibbles(p + 16));
    }
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

void multiply(const GvqLookupTiles& tiles, int64_t rows, const GvqLookupInput& x, float* sums) {
  switch (tiles.code_bits) {
    case 2:
      return multiply_bits<Avx512, 2>(tiles, rows, x, sums);
    case 4:
      return multiply_bits<Avx512, 4>(tiles, rows, x, sums);
    case 6:
      return multiply_bits<Avx512, 6>(tiles, rows, x, sums);
    default:
      return multiply_bits<Avx512, 8>(tiles, rows, x, sums);
  }
}

void decode(const GvqStripRows* strips, int64_t count, int64_t places, int8_t* codes) {
  switch (strips->tiles.code_bits) {
    case 2:
      return decode_bits<Avx512, 2>(strips, count, places, codes);
    case 4:
      return decode_bits<Avx512, 4>(strips, count, places, codes);
    case 6:
      return decode_bits<Avx512, 6>(strips, count, places, codes);
    default:
      return decode_bits<Avx512, 8>(strips, count, places, codes);
  }
}

}  // namespace

void fill_avx512(GvqLookupKernels& kernels) {
  kernels = {8, multiply, decode, decode_scales<Avx512>};
}

}  // namespace bitsmith
