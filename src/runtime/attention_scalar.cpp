#include "runtime/attention_simd.h"

namespace bitsmith {

extern const VectorFunctions kVectorFunctions_scalar;
const VectorFunctions kVectorFunctions_scalar = {attention, silu_mul};

}  // namespace bitsmith
