#include "kernels/panel_gemm_impl.h"
#include "kernels/simd_neon.h"

namespace bitsmith {
namespace {

// 24 of the 32 registers.
struct Neon : Simd {
  static constexpr int kTokens = 6, kVectors = 4;
};

}  // namespace

void fill_neon(PanelGemmKernels& kernels) { kernels = make_panel_gemm<Neon>(); }

}  // namespace bitsmith
