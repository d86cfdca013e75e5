// What a tuning step cannot do without, part by part: the other side of its measured times.
#pragma once
#include <array>

#include "compressor/train/step_times.h"
#include "compressor/tune/student.h"

namespace bitsmith {

// Of one part. Zeros: nothing that counts.
struct PartWork {
  double flops = 0;  // of matrix products, those of attention among them
  double bytes = 0;  // that main memory must give or take

  // On a machine of `gemm_rate` flops/s that reads `bandwidth` bytes/s.
  double seconds(double gemm_rate, double bandwidth) const;
};
using StepWork = std::array<PartWork, kStepParts>;

struct StepShape {
  int64_t windows = 1, length = 1;  // tokens: their product
  bool searches_codes = false;
};

// Of a step with a divergence to a teacher that runs. For T tokens, N weights in the blocks and H
// in the head the products with weights are 8 N T (2 in each model's forward pass, 4 in the
// backward pass) and 6 H T (8 where it learns), all of them in the loss. Of experts a token meets
// only its own. Of attention the half below the diagonal counts, or the window: two products
// forward, five backward. Bytes are those of gradients, moments, codes and dense copies, each once
// a step; a V step writes and reads the direction of every matrix besides.
StepWork step_work(Student& student, const StepShape& shape);

// flops of all parts.
double products(const StepWork& work);

}  // namespace bitsmith
