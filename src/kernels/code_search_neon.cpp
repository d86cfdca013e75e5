#include "kernels/code_search_impl.h"
#include "kernels/simd_neon.h"

namespace bitsmith {

void fill_neon(SearchKernels& kernels) { kernels = make_code_search<Simd>(); }

}  // namespace bitsmith
