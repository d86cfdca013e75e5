// The ceiling that decoding is measured against.
#pragma once
#include "base/thread_pool.h"

namespace bitsmith {

// Bytes per second at which all threads of the pool together read a buffer of `bytes` once, best
// of `repeats`. The buffer should be as large as a model: far beyond the caches of a core.
double measure_read_bandwidth(ThreadPool& pool, size_t bytes, int repeats = 5);

}  // namespace bitsmith
