#include "kernels/code_search_impl.h"
#include "kernels/simd_avx512.h"

namespace bitsmith {

void fill_avx512(SearchKernels& kernels) { kernels = make_code_search<Simd>(); }

}  // namespace bitsmith
