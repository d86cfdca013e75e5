#include "kernels/panel_gemm_impl.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {
namespace {

struct Avx2 : Simd {
  static constexpr int kTokens = 6;  // 12 of the 16 registers are sums
};

}  // namespace

void fill_avx2(PanelGemmKernels& kernels) { kernels = make_panel_gemm<Avx2>(); }

}  // namespace bitsmith
