// Between float32 tensors and the fp16 and packed parts of a file.
#pragma once
#include <string>

#include "compressor/torch.h"
#include "format/quantized_tensor.h"

namespace bitsmith {

// The nearest fp16 values, in float32. Beyond +-65504 the largest finite value: a file holds no
// infinities. NaN stays NaN.
torch::Tensor round_to_fp16(const torch::Tensor& values);

// Part `name` as float32 in the shape asked for, and back.
torch::Tensor read_fp16_part(const QuantizedTensor& tensor, const std::string& name,
                             at::IntArrayRef shape);
void write_fp16_part(const QuantizedTensor& tensor, const std::string& name,
                     const torch::Tensor& values);

// Part `name` of packed rows, one a row of the matrix, as int32 [out_features, count], and back.
torch::Tensor read_packed_part(const QuantizedTensor& tensor, const std::string& name,
                               int64_t count, int nbits);
void write_packed_part(const QuantizedTensor& tensor, const std::string& name,
                       const torch::Tensor& codes, int nbits);

// All codes of a matrix as int32 [out_features, codes per row], and back.
torch::Tensor read_codes(const QuantizedTensor& tensor);
void write_codes(const QuantizedTensor& tensor, const torch::Tensor& codes);

}  // namespace bitsmith
