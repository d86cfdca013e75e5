#include "kernels/activations_impl.h"
#include "kernels/simd_avx512.h"

namespace bitsmith {

void fill_avx512(ActivationKernels& kernels) { kernels = make_activations<Simd>(); }

}  // namespace bitsmith
