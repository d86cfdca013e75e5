// LibTorch's thread count and memory habits, for callers that see none of its headers. Once, at the
// start.
#pragma once

namespace bitsmith {

void set_torch_threads(int threads);

}  // namespace bitsmith
