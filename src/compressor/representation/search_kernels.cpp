#include "compressor/representation/search_kernels.h"

namespace bitsmith {

const SearchKernels& search_kernels() {
  static const SearchKernels& best = [&]() -> const SearchKernels& {
    if (const auto* kernels = search_kernels_avx512()) return *kernels;
    if (const auto* kernels = search_kernels_avx2()) return *kernels;
    return *search_kernels_scalar();
  }();
  return best;
}

}  // namespace bitsmith
