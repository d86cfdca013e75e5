#include "kernels/bfloat16_impl.h"
#include "kernels/simd_neon.h"

namespace bitsmith {

void fill_neon(BFloat16Kernels& kernels) { kernels = make_bfloat16<Simd>(); }

}  // namespace bitsmith
