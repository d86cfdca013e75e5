#include "kernels/gvq_lookup_avx2_impl.h"

#include "kernels/gvq_decode_impl.h"
#include "kernels/gvq_lookup_impl.h"

namespace bitsmith {
namespace {

struct Avx2 : Avx2Packets {
  template <int kBits>
  using Table = ByteTable<kBits, /*kBias=*/0>;

  static __m256i start(const int32_t*) { return _mm256_setzero_si256(); }
  static __m256i add_products(__m256i dot, __m256i values, const int8_t* inputs) {
    return add_byte_products(dot, _mm256_abs_epi8(values),
                             _mm256_sign_epi8(load_bytes(inputs), values));
  }
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
