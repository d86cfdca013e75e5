#include "kernels/norms_impl.h"
#include "kernels/simd_neon.h"

namespace bitsmith {

void fill_neon(NormKernels& kernels) { kernels = make_norms<Simd>(); }

}  // namespace bitsmith
