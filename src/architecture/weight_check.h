// Weights that no arithmetic can go on with are found before work, by reading all of them once.
#pragma once
#include <functional>
#include <string>

#include "architecture/checkpoint.h"
#include "base/run_context.h"

namespace bitsmith {

// Reads every floating-point tensor that the model uses, with context.threads threads. Throws Error
// that names file, tensor and index of the first value that is NaN or infinite, or larger than
// 1e18 (its square, as a norm takes it, overflows float32). Where `to_be_quantized` holds, values
// beyond F16's range (65504), and a matrix whose largest value is below F16's normal range
// (6.1e-5), are errors too: scales and codebooks are stored in F16.
// Interrupted between two tensors.
void check_weights(const Checkpoint& checkpoint, const RunContext& context,
                   const std::function<bool(const std::string& tensor)>& to_be_quantized);

}  // namespace bitsmith
