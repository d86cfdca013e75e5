// LibTorch's thread count, for callers that see none of its headers.
#pragma once

namespace bitsmith {

void set_torch_threads(int threads);

}  // namespace bitsmith
