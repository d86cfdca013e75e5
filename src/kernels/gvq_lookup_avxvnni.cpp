#include "kernels/gvq_lookup_avx2_impl.h"
#include "kernels/gvq_lookup_impl.h"
#include "kernels/simd_avxvnni.h"

namespace bitsmith {
namespace {

struct AvxVnni : Avx2Packets {
  template <int kBits>
  using Table = ByteTable<kBits, /*kBias=*/128>;

  // What the tables' 128 will add too much.
  static __m256i start(const int32_t* offsets) { return load_bytes(offsets); }
  static __m256i add_products(__m256i dot, __m256i values, const int8_t* inputs) {
    return SimdVnni::add_byte_products(dot, values, load_bytes(inputs));
  }
};

void multiply(const GvqLookupTiles& tiles, int64_t rows, const GvqLookupInput& x, float* sums) {
  if (tiles.code_bits == 2) return multiply_bits<AvxVnni, 2>(tiles, rows, x, sums);
  if (tiles.code_bits == 4) return multiply_bits<AvxVnni, 4>(tiles, rows, x, sums);
  multiply_bits<AvxVnni, 6>(tiles, rows, x, sums);
}

}  // namespace

void fill_avxvnni(GvqLookupKernels& kernels) { kernels.multiply = multiply; }

}  // namespace bitsmith
