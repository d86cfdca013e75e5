// How fast one weight matrix multiplies: each way, with its weights in the caches and without.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/run_context.h"
#include "base/thread_pool.h"
#include "runtime/matrices/weight_matrix.h"

namespace bitsmith {

// Seconds of a product of some tokens, of the repeats.
struct KernelSpeed {
  Products products = Products::kSingle;
  int64_t tokens = 1;
  bool cold = false;  // the weights came from main memory
  double median = 0, best = 0;
};

// Every way with every number of tokens, warm and cold. Warm: the product before was the same.
// Cold: other memory, more than the caches hold, was read since. Random activations. Throws
// Interrupted.
std::vector<KernelSpeed> measure_kernel(WeightMatrix& matrix, std::span<const int64_t> tokens,
                                        int64_t repeats, ThreadPool& pool,
                                        const RunContext& context);

}  // namespace bitsmith
