#include "kernels/norms_impl.h"
#include "kernels/simd_scalar.h"

namespace bitsmith {

void fill_scalar(NormKernels& kernels) { kernels = make_norms<Simd>(); }

}  // namespace bitsmith
