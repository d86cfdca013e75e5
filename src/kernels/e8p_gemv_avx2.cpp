#include "kernels/e8p_gemv_avx2_impl.h"

namespace bitsmith {

void fill_avx2(E8pGemvKernels& kernels) { kernels = make_e8p_gemv<Simd>(); }

}  // namespace bitsmith
