#include "kernels/gvq_lookup_avx512_impl.h"

#include "kernels/gvq_decode_impl.h"
#include "kernels/gvq_lookup_impl.h"

namespace bitsmith {
namespace {

// One coordinate of the centroids, plus the bias: 0, or 128 to have no sign. Sixteen of them are
// looked up at once; where there are 64, each quarter in the bytes whose codes are of it. Of codes
// of six bits the upper two of a byte may be anything.
template <int kBits>
struct BiasedTable {
  static constexpr int kRegisters = kBits == 6 ? 4 : 1;
  explicit BiasedTable(const int8_t* values, int bias = 128) {
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(bias));
    for (int i = 0; i < kRegisters; ++i) {
      const __m128i few = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values + 16 * i));
      part[i] = _mm512_xor_si512(_mm512_broadcast_i32x4(few), sign);
    }
  }
  __m512i operator[](__m512i codes) const {
    if constexpr (kBits <= 4) return _mm512_shuffle_epi8(part[0], codes);
    const __m512i within = _mm512_and_si512(codes, _mm512_set1_epi8(15));
    const __mmask64 bit4 = _mm512_test_epi8_mask(codes, _mm512_set1_epi8(16));
    const __mmask64 bit5 = _mm512_test_epi8_mask(codes, _mm512_set1_epi8(32));
    __m512i values = _mm512_shuffle_epi8(part[0], within);
    values = _mm512_mask_shuffle_epi8(values, _kandn_mask64(bit5, bit4), part[1], within);
    values = _mm512_mask_shuffle_epi8(values, _kandn_mask64(bit4, bit5), part[2], within);
    return _mm512_mask_shuffle_epi8(values, _kand_mask64(bit4, bit5), part[3], within);
  }
  void replace(__mmask16 mask, const BiasedTable& other) {
    part[0] = _mm512_mask_mov_epi32(part[0], mask, other.part[0]);
  }
  __m512i part[kRegisters];
};

struct Avx512 : Avx512Packets {
  template <int kBits>
  using Table = BiasedTable<kBits>;
};

void multiply(const GvqLookupTiles& tiles, int64_t rows, const GvqLookupInput& x, float* sums) {
  if (tiles.code_bits == 2) return multiply_bits<Avx512, 2>(tiles, rows, x, sums);
  if (tiles.code_bits == 4) return multiply_bits<Avx512, 4>(tiles, rows, x, sums);
  multiply_bits<Avx512, 6>(tiles, rows, x, sums);
}

void decode(const GvqStripRows* strips, int64_t count, int64_t places, int8_t* codes) {
  const int code_bits = strips->tiles.code_bits;
  if (code_bits == 2) return decode_bits<Avx512, 2>(strips, count, places, codes);
  if (code_bits == 4) return decode_bits<Avx512, 4>(strips, count, places, codes);
  decode_bits<Avx512, 6>(strips, count, places, codes);
}

}  // namespace

void fill_avx512(GvqLookupKernels& kernels) {
  kernels = {6, multiply, decode, decode_scales<Avx512>};
}

}  // namespace bitsmith
