#include "kernels/dense_gemv_impl.h"
#include "kernels/simd_neon.h"

namespace bitsmith {

void fill_neon(DenseGemvKernels& kernels) { kernels = make_dense_gemv<Simd>(); }

}  // namespace bitsmith
