#include "kernels/int8_gemm.h"
#include "kernels/simd_avx512.h"

namespace bitsmith {
namespace {

constexpr int64_t kTokens = 16;  // rows of a tile of sums

// The operand of ldtilecfg.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, int64_t tile_rows, int64_t bytes) {
    rows[tile] = static_cast<uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }
};
static_assert(sizeof(TileConfiguration) == 64);

// The tiles: sums of rows 0..15 and 16..31 of the panel, activations, weights of the same rows.
// Their numbers are written out below, since the instructions want literals.
TileConfiguration configuration(int64_t tokens, int64_t chunk) {
  TileConfiguration tiles;
  tiles.set(0, tokens, 64);
  tiles.set(1, tokens, 64);
  tiles.set(2, tokens, chunk);
  tiles.set(3, chunk / 4, 64);
  tiles.set(4, chunk / 4, 64);
  return tiles;
}

// At most kTokens tokens, for which the tiles are configured.
void multiply_tokens(const Int8Panel& w, const Int8Inputs& x, int64_t tokens, float* sums) {
  const int64_t units = x.stride / kInt8Unit;
  const int8_t* codes = w.codes;
  const float* scales = w.scales;
  for (int64_t i = 0; i < w.inputs; i += w.chunk, scales += kInt8Rows) {
    alignas(64) int32_t dots[kTokens * kInt8Rows];
    constexpr int64_t kRowBytes = kInt8Rows * 4;  // of dots, and of four inputs in the panel
    _tile_zero(0);
    _tile_zero(1);
    _tile_loadd(2, x.codes + i, x.stride);
    _tile_loadd(3, codes, kRowBytes);
    _tile_loadd(4, codes + 64, kRowBytes);
    _tile_dpbssd(0, 2, 3);
    _tile_dpbssd(1, 2, 4);
    _tile_stored(0, dots, kRowBytes);
    _tile_stored(1, dots + 16, kRowBytes);
    codes += w.chunk * kInt8Rows;
    const __m512 low = Simd::load(scales), high = Simd::load(scales + 16);
    for (int64_t t = 0; t < tokens; ++t) {
      const __m512 input = Simd::broadcast(x.scales[t * units + i / kInt8Unit]);
      const int32_t* dot = dots + t * kInt8Rows;
      float* sum = sums + t * kInt8Rows;
      const __m512 low_dot = _mm512_cvtepi32_ps(_mm512_load_si512(dot));
      const __m512 high_dot = _mm512_cvtepi32_ps(_mm512_load_si512(dot + 16));
      Simd::store(sum, Simd::multiply_add(low_dot, low * input, Simd::load(sum)));
      Simd::store(sum + 16, Simd::multiply_add(high_dot, high * input, Simd::load(sum + 16)));
    }
  }
}

void multiply(const Int8Panel& w, const Int8Inputs& x, int64_t tokens, float* sums) {
  int64_t configured = 0;  // tokens
  for (int64_t first = 0; first < tokens; first += kTokens) {
    const int64_t count = tokens - first < kTokens ? tokens - first : kTokens;
    if (count != configured) {
      const TileConfiguration tiles = configuration(count, w.chunk);
      _tile_loadconfig(&tiles);
      configured = count;
    }
    const Int8Inputs own = {x.codes + first * x.stride, x.scales + first * x.stride / kInt8Unit,
                            x.sums + first * x.stride / w.chunk, x.stride};
    multiply_tokens(w, own, count, sums + first * kInt8Rows);
  }
  _tile_release();
}

}  // namespace

void fill_amx(Int8GemmKernels& kernels) { kernels.multiply = multiply; }

}  // namespace bitsmith
