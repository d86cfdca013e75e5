#include "kernels/simd_avx2.h"
#include "kernels/softmax_impl.h"

namespace bitsmith {

void fill_avx2(SoftmaxKernels& kernels) { kernels = make_softmax<Simd>(); }

}  // namespace bitsmith
