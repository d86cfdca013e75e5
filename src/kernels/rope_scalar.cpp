#include "kernels/rope_impl.h"
#include "kernels/simd_scalar.h"

namespace bitsmith {

void fill_scalar(RopeKernels& kernels) { kernels = make_rope<Simd>(); }

}  // namespace bitsmith
