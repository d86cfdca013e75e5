#include "kernels/code_search_impl.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {

void fill_avx2(SearchKernels& kernels) { kernels = make_code_search<Simd>(); }

}  // namespace bitsmith
