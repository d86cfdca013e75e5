#include "kernels/panel_gemm_impl.h"
#include "kernels/simd_neon.h"

namespace bitsmith {
namespace {

struct Neon : Simd {
  static constexpr int kTokens = 12;  // 24 of the 32 registers are sums
};

}  // namespace

void fill_neon(PanelGemmKernels& kernels) { kernels = make_panel_gemm<Neon>(); }

}  // namespace bitsmith
