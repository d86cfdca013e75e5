#include "kernels/bfloat16_impl.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {

void fill_avx2(BFloat16Kernels& kernels) { kernels = make_bfloat16<Simd>(); }

}  // namespace bitsmith
