#include "kernels/additive_gather_impl.h"
#include "kernels/simd_neon.h"

namespace bitsmith {

void fill_neon(AdditiveGatherKernels& kernels) { kernels = make_additive_gather<Simd>(); }

}  // namespace bitsmith
