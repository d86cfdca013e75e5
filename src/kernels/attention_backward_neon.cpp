#include "kernels/attention_backward_impl.h"
#include "kernels/simd_neon.h"

namespace bitsmith {

void fill_neon(AttentionBackwardKernels& kernels) { kernels = make_attention_backward<Simd>(); }

}  // namespace bitsmith
