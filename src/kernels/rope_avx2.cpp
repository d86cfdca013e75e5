#include "kernels/rope_impl.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {

void fill_avx2(RopeKernels& kernels) { kernels = make_rope<Simd>(); }

}  // namespace bitsmith
