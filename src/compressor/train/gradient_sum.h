// Sums of gradients over the micro-batches of a step.
#pragma once
#include "compressor/torch.h"

namespace bitsmith {

// sum += term, element by element in float32, exactly what add_() gives; without a float32 copy of
// a term in bfloat16. `sum`: float32, undefined for zeros.
void add_to_sum(const torch::Tensor& term, torch::Tensor& sum);

}  // namespace bitsmith
