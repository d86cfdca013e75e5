#include "kernels/activations_impl.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {

void fill_avx2(ActivationKernels& kernels) { kernels = make_activations<Simd>(); }

}  // namespace bitsmith
