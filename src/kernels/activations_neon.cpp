#include "kernels/activations_impl.h"
#include "kernels/simd_neon.h"

namespace bitsmith {

void fill_neon(ActivationKernels& kernels) { kernels = make_activations<Simd>(); }

}  // namespace bitsmith
