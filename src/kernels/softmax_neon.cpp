#include "kernels/simd_neon.h"
#include "kernels/softmax_impl.h"

namespace bitsmith {

void fill_neon(SoftmaxKernels& kernels) { kernels = make_softmax<Simd>(); }

}  // namespace bitsmith
