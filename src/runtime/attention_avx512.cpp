#include "runtime/attention_simd.h"

namespace bitsmith {

extern const VectorFunctions kVectorFunctions_avx512;
const VectorFunctions kVectorFunctions_avx512 = {attention, silu_mul};

}  // namespace bitsmith
