#include "kernels/int8_gemm_impl.h"
#include "kernels/simd_neon.h"

namespace bitsmith {
namespace {

struct Neon : Simd {
  static constexpr int64_t kTokens = 5;  // 5 x 2 registers of sums in integers, as many in floats

  static int8x16_t load_weights(const int8_t* p) { return vld1q_s8(p); }
  static int32x4_t start(int32_t) { return vdupq_n_s32(0); }
  static int32x4_t add_products(int32x4_t dot, int8x16_t weights, int32x4_t inputs) {
    return vdotq_s32(dot, weights, vreinterpretq_s8_s32(inputs));
  }
};

void reorder(int8_t* codes, int64_t units, const uint8_t* order) {
  const uint8x16_t low = vld1q_u8(order), high = vld1q_u8(order + 16);
  for (int64_t u = 0; u < units; ++u, codes += kInt8Unit) {
    const int8x16x2_t unit = {{vld1q_s8(codes), vld1q_s8(codes + 16)}};
    vst1q_s8(codes, vqtbl2q_s8(unit, low));
    vst1q_s8(codes + 16, vqtbl2q_s8(unit, high));
  }
}

}  // namespace

void fill_neon(Int8GemmKernels& kernels) {
  kernels = {Int8Gemm<Neon>::multiply, Int8Gemm<Neon>::pack, reorder};
}

}  // namespace bitsmith
