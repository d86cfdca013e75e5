#include "compressor/model/torch_threads.h"

#include <ATen/Parallel.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace bitsmith {

void set_torch_threads(int threads) {
  at::set_num_threads(threads);
#if defined(__GLIBC__)
  // Every pass allocates the same large tensors anew: given back to the system between two of them,
  // their pages cost a tenth of a training step.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace bitsmith
