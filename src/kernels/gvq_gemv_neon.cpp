#include "kernels/gvq_gemv_impl.h"
#include "kernels/simd_neon.h"

namespace bitsmith {
namespace {

struct Neon : Simd {
  // Codes [p, p + 4) of a row; p is a multiple of what keeps it on a byte.
  static int32x4_t load_codes(const GvqTile& tile, const uint8_t* row, int64_t p) {
    if (tile.code_bits == 4) {
      uint16_t packed;
      __builtin_memcpy(&packed, row + p / 2, sizeof(packed));
      const uint32x4_t at = vshlq_u32(vdupq_n_u32(packed), int32x4_t{0, -4, -8, -12});
      return vreinterpretq_s32_u32(vandq_u32(at, vdupq_n_u32(15)));
    }
    if (tile.code_bits == 8) return load_bytes(row + p);
    uint64_t four;
    __builtin_memcpy(&four, row + 2 * p, sizeof(four));
    return vreinterpretq_s32_u32(vmovl_u16(vcreate_u16(four)));
  }
};

// One coordinate of a codebook in memory; up to 16 centroids are in registers.
struct MemoryPlane {
  explicit MemoryPlane(const float* values) : memory(values) {}
  float32x4_t operator[](int32x4_t codes) const {
    return float32x4_t{memory[codes[0]], memory[codes[1]], memory[codes[2]], memory[codes[3]]};
  }
  const float* memory;
};

void multiply(const GvqTile& tile, int64_t rows, const float* x, int64_t x_stride, float* y) {
  const auto kernel = tile.padded <= 16 ? GvqKernel<Neon, SixteenFloats>::multiply
                                        : GvqKernel<Neon, MemoryPlane>::multiply;
  kernel(tile, rows, x, x_stride, y);
}

}  // namespace

void fill_neon(GvqGemvKernels& kernels) { kernels = {multiply}; }

}  // namespace bitsmith
