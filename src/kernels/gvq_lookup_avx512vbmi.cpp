#include "kernels/gvq_lookup_avx512_impl.h"

#include "kernels/gvq_decode_impl.h"
#include "kernels/gvq_lookup_impl.h"

namespace bitsmith {
namespace {

// One coordinate of the centroids, plus the bias: 0, or 128 to have no sign. Of codes of six bits
// the upper two of a byte may be anything.
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
      // Each half leaves the other's codes as they are.
      const __mmask64 upper = _mm512_movepi8_mask(codes);
      const __m512i some =
          _mm512_mask2_permutex2var_epi8(part[0], codes, _knot_mask64(upper), part[1]);
      return _mm512_mask2_permutex2var_epi8(part[2], some, upper, part[3]);
    }
  }
  void replace(__mmask16 mask, const BiasedTable& other) {
    part[0] = _mm512_mask_mov_epi32(part[0], mask, other.part[0]);
  }
  __m512i part[kRegisters];
};

struct Avx512Vbmi : Avx512Packets {
  template <int kBits>
  using Table = BiasedTable<kBits>;
};

void multiply(const GvqLookupTiles& tiles, int64_t rows, const GvqLookupInput& x, float* sums) {
  switch (tiles.code_bits) {
    case 2:
      return multiply_bits<Avx512Vbmi, 2>(tiles, rows, x, sums);
    case 4:
      return multiply_bits<Avx512Vbmi, 4>(tiles, rows, x, sums);
    case 6:
      return multiply_bits<Avx512Vbmi, 6>(tiles, rows, x, sums);
    default:
      return multiply_bits<Avx512Vbmi, 8>(tiles, rows, x, sums);
  }
}

void decode(const GvqStripRows* strips, int64_t count, int64_t places, int8_t* codes) {
  switch (strips->tiles.code_bits) {
    case 2:
      return decode_bits<Avx512Vbmi, 2>(strips, count, places, codes);
    case 4:
      return decode_bits<Avx512Vbmi, 4>(strips, count, places, codes);
    case 6:
      return decode_bits<Avx512Vbmi, 6>(strips, count, places, codes);
    default:
      return decode_bits<Avx512Vbmi, 8>(strips, count, places, codes);
  }
}

}  // namespace

void fill_avx512vbmi(GvqLookupKernels& kernels) {
  kernels = {8, multiply, decode, decode_scales<Avx512Vbmi>};
}

}  // namespace bitsmith
