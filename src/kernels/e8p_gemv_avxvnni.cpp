#include "kernels/e8p_gemv_avx2_impl.h"
#include "kernels/simd_avxvnni.h"

namespace bitsmith {

void fill_avxvnni(E8pGemvKernels& kernels) { kernels = make_e8p_gemv<SimdVnni>(); }

}  // namespace bitsmith
