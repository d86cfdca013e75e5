#include "kernels/attention_backward_impl.h"
#include "kernels/simd_avx512.h"

namespace bitsmith {

void fill_avx512(AttentionBackwardKernels& kernels) { kernels = make_attention_backward<Simd>(); }

}  // namespace bitsmith
