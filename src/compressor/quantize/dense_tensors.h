// The tensors of a model that stay dense, as the result holds them: 16 bits a value.
#pragma once
#include <torch/torch.h>

#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace bitsmith {

// A base tensor in F16 or BF16 is taken as it is; F32, F64 and GGUF blocks become F16, or BF16
// where a value is beyond F16's range (65504). Keeps what it converts.
class DenseTensors {
 public:
  explicit DenseTensors(const Checkpoint& base) : base_(base) {}
  // Valid as long as this and the checkpoint. Throws Error for NaN and infinity.
  TensorView view(const std::string& name);

 private:
  const Checkpoint& base_;
  std::vector<torch::Tensor> converted_;
};

}  // namespace bitsmith
