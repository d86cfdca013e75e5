#include "kernels/attention_impl.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {

void fill_avx2(AttentionKernels& kernels) { kernels = make_attention<Simd>(); }

}  // namespace bitsmith
