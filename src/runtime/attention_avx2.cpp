#include "runtime/attention_simd.h"

namespace bitsmith {

extern const VectorFunctions kVectorFunctions_avx2;
const VectorFunctions kVectorFunctions_avx2 = {attention, silu_mul};

}  // namespace bitsmith
