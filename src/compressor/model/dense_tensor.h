// Dense matrices of a model file as LibTorch tensors.
#pragma once
#include <string>

#include "architecture/checkpoint.h"
#include "compressor/torch.h"
#include "format/quantized_checkpoint.h"

namespace bitsmith {

// Of forward passes: "float32" or "bfloat16"; UsageError for another name.
torch::Dtype compute_dtype(const std::string& name);

// The tensor `name` ("model.norm.weight") converted to a float dtype, decoded in slices of rows, so
// that no second copy of the whole exists.
torch::Tensor read_dense(const Checkpoint& checkpoint, const std::string& name, torch::Dtype dtype);

torch::Tensor decode_matrix(const QuantizedTensor& tensor, torch::Dtype dtype);

// The matrix of `module` ("model.embed_tokens"), dense or decoded from its representation.
torch::Tensor read_matrix(const ModelFiles& files, const std::string& module, torch::Dtype dtype);

}  // namespace bitsmith
