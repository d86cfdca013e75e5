#include "kernels/dense_gemv_impl.h"
#include "kernels/simd_avx512.h"

namespace bitsmith {

void fill_avx512(DenseGemvKernels& kernels) { kernels = make_dense_gemv<Simd>(); }

}  // namespace bitsmith
