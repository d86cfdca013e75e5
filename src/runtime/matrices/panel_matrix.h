// What all weight matrices share: sharing rows among threads, and the path for many tokens.
#pragma once
#include <functional>

#include "kernels/kernel_table.h"
#include "runtime/matrices/weight_matrix.h"

namespace bitsmith {

class PanelMatrix : public WeightMatrix {
 public:
  void multiply(const float* x, int64_t tokens, float* y, ThreadPool& pool) final;

 protected:
  PanelMatrix(int64_t out, int64_t in) {
    out_features = out;
    in_features = in;
  }
  // One token. False when this matrix has no kernel of its own for it and takes the path for many.
  virtual bool multiply_one(const float* x, float* y, ThreadPool& pool) = 0;
  // Rows [32 p, 32 p + 32) as a panel of panel_gemm.h; here row by row.
  virtual void decode_panel(int64_t p, float* panel) const;
};

// Cuts [0, count) into a few even ranges a thread and runs task(first, count) on each. Rows do not
// influence each other, so that the cut may depend on the number of threads.
void run_ranges(ThreadPool& pool, int64_t count,
                const std::function<void(int64_t first, int64_t count)>& task);

}  // namespace bitsmith
