#include "kernels/simd_avx512.h"
#include "kernels/softmax_impl.h"

namespace bitsmith {

void fill_avx512(SoftmaxKernels& kernels) { kernels = make_softmax<Simd>(); }

}  // namespace bitsmith
