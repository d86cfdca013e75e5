#include "kernels/panel_gemm_impl.h"
#include "kernels/simd_avx512.h"

namespace bitsmith {
namespace {

struct Avx512 : Simd {
  static constexpr int kTokens = 12;  // 24 of the 32 registers are sums
};

}  // namespace

// Packing stays with AVX2: rows of scales are often shorter than 16.
void fill_avx512(PanelGemmKernels& kernels) { kernels.multiply = PanelGemm<Avx512>::multiply; }

}  // namespace bitsmith
