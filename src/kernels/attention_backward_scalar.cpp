#include "kernels/attention_backward_impl.h"
#include "kernels/simd_scalar.h"

namespace bitsmith {

void fill_scalar(AttentionBackwardKernels& kernels) { kernels = make_attention_backward<Simd>(); }

}  // namespace bitsmith
