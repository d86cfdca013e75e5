// Matrix products in chunks of rows whose size hangs on the shape only, so that results do not
// depend on the number of threads.
#pragma once
#include <algorithm>

#include "compressor/parallel.h"
#include "compressor/torch.h"

namespace bitsmith {

// task(begin, count) for chunks of rows, each one thread's. A chunk of a tall matrix is larger: the
// other factor is packed anew for each.
template <typename Task>
void each_row_chunk(int64_t rows, const Task& task) {
  const int64_t chunk = std::clamp<int64_t>(rows / 16, 96, 256);
  parallel_tasks((rows + chunk - 1) / chunk, [&](int64_t i) {
    const torch::NoGradGuard no_grad;  // a thread's own flag
    task(i * chunk, std::min(chunk, rows - i * chunk));
  });
}

// a @ b, float32 or float64.
torch::Tensor row_chunked_matmul(const torch::Tensor& a, const torch::Tensor& b);
// y -= a @ b; y may be a part of a matrix.
void row_chunked_subtract(const torch::Tensor& a, const torch::Tensor& b, const torch::Tensor& y);

}  // namespace bitsmith
