#include "kernels/attention_impl.h"
#include "kernels/simd_neon.h"

namespace bitsmith {

void fill_neon(AttentionKernels& kernels) { kernels = make_attention<Simd>(); }

}  // namespace bitsmith
