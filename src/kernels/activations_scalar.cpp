#include "kernels/activations_impl.h"
#include "kernels/simd_scalar.h"

namespace bitsmith {

void fill_scalar(ActivationKernels& kernels) { kernels = make_activations<Simd>(); }

}  // namespace bitsmith
