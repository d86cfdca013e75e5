// The tensors of a model that stay dense, as the result holds them: 16 bits a value.
#pragma once
#include <string>

#include "architecture/checkpoint.h"
#include "checkpoint/tensor_source.h"

namespace bitsmith {

// A base tensor in F16 or BF16 is taken as it is; F32, F64 and GGUF blocks become F16, or BF16
// where a value is beyond F16's range (65504). The layout is the plan's. Refers to
// the checkpoint; no memory is held between calls. Throws Error for NaN and infinity.
TensorSource dense_tensor_source(const Checkpoint& base, const std::string& name);

}  // namespace bitsmith
