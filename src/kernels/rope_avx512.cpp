#include "kernels/rope_impl.h"
#include "kernels/simd_avx512.h"

namespace bitsmith {

void fill_avx512(RopeKernels& kernels) { kernels = make_rope<Simd>(); }

}  // namespace bitsmith
