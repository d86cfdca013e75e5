#include "kernels/norms_impl.h"
#include "kernels/simd_avx512.h"

namespace bitsmith {

void fill_avx512(NormKernels& kernels) { kernels = make_norms<Simd>(); }

}  // namespace bitsmith
