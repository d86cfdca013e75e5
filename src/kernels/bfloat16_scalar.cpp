#include "kernels/bfloat16_impl.h"
#include "kernels/simd_scalar.h"

namespace bitsmith {

void fill_scalar(BFloat16Kernels& kernels) { kernels = make_bfloat16<Simd>(); }

}  // namespace bitsmith
