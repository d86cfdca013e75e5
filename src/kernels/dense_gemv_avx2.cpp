#include "kernels/dense_gemv_impl.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {

void fill_avx2(DenseGemvKernels& kernels) { kernels = make_dense_gemv<Simd>(); }

}  // namespace bitsmith
