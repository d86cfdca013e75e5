#include "kernels/simd_scalar.h"
#include "kernels/softmax_impl.h"

namespace bitsmith {

void fill_scalar(SoftmaxKernels& kernels) { kernels = make_softmax<Simd>(); }

}  // namespace bitsmith
