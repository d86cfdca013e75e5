#include "kernels/additive_gather_impl.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {

void fill_avx2(AdditiveGatherKernels& kernels) { kernels = make_additive_gather<Simd>(); }

}  // namespace bitsmith
