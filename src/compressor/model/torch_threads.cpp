#include "compressor/model/torch_threads.h"

#include <ATen/Parallel.h>

namespace bitsmith {

void set_torch_threads(int threads) { at::set_num_threads(threads); }

}  // namespace bitsmith
