#include "kernels/code_search_impl.h"
#include "kernels/simd_scalar.h"

namespace bitsmith {

void fill_scalar(SearchKernels& kernels) { kernels = make_code_search<Simd>(); }

}  // namespace bitsmith
