#include "kernels/attention_backward_impl.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {

void fill_avx2(AttentionBackwardKernels& kernels) { kernels = make_attention_backward<Simd>(); }

}  // namespace bitsmith
