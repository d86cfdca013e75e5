#include "kernels/attention_impl.h"
#include "kernels/simd_scalar.h"

namespace bitsmith {

void fill_scalar(AttentionKernels& kernels) { kernels = make_attention<Simd>(); }

}  // namespace bitsmith
