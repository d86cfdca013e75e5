// How fast LibTorch multiplies matrices here: what dtypes are chosen by and speeds compared with.
#pragma once
#include "compressor/torch.h"

namespace bitsmith {

// flops/s of inputs [tokens, in] times the transpose of weights [out, in], the best of `repeats`.
double gemm_rate(torch::Dtype dtype, int64_t tokens, int64_t in, int64_t out, int repeats = 10);

// flops/s of a product of middle size.
struct GemmRates {
  double float32 = 0, bfloat16 = 0;
  // Clearly: neither noise nor processors where both are as fast decide differently next time.
  bool bfloat16_is_faster() const { return bfloat16 > 1.2 * float32; }
};

// Measured once a process, with the threads that LibTorch then has, in a fraction of a second. 0 in
// bfloat16 where the processor has no instructions for it. Not thread-safe.
const GemmRates& gemm_rates();

}  // namespace bitsmith
