#include "kernels/rope_impl.h"
#include "kernels/simd_neon.h"

namespace bitsmith {

void fill_neon(RopeKernels& kernels) { kernels = make_rope<Simd>(); }

}  // namespace bitsmith
