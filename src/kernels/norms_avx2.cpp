#include "kernels/norms_impl.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {

void fill_avx2(NormKernels& kernels) { kernels = make_norms<Simd>(); }

}  // namespace bitsmith
