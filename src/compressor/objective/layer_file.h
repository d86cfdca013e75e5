// A matrix with its objective in a safetensors file, to quantize it by itself.
#pragma once
#include <filesystem>

#include "compressor/objective/objective.h"
#include "compressor/torch.h"

namespace bitsmith {

// Tensors of any float type: `weight` [out, in] and, where there are such, `hessian` [in, in]; one
// of `row_weights` [out] and `output_factor` [out, out]; `cross` [in, in], which wants a Hessian.
struct LayerFile {
  torch::Tensor weight;  // float32, as all others
  Objective objective;   // without a shift
  torch::Tensor cross;   // the cross sum (hessian_sum.h), or undefined
};

// Error, which names the file and the tensor, where a tensor is missing, has another shape or data
// type, holds NaN or infinity or a negative weight, or does not go with another one.
LayerFile read_layer_file(const std::filesystem::path& path);
void write_layer_file(const std::filesystem::path& path, const LayerFile& layer);

}  // namespace bitsmith
