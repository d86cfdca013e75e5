#include "kernels/attention_impl.h"
#include "kernels/simd_avx512.h"

namespace bitsmith {

void fill_avx512(AttentionKernels& kernels) { kernels = make_attention<Simd>(); }

}  // namespace bitsmith
