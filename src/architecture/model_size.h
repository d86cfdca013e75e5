// How many weights a model has and how many bytes hold them: the true bits of every table.
#pragma once
#include <cstdint>
#include <span>

#include "architecture/model_plan.h"
#include "checkpoint/tensor_source.h"
#include "checkpoint/tensor_view.h"

namespace bitsmith {

struct ModelSize {
  int64_t parameters = 0;       // of the dense model: every expected tensor's elements
  int64_t decoder_weights = 0;  // of the blocks' linears: out_features * in_features
  int64_t decoder_bytes = 0;  // all tensors of those linears: dense weights, codes, scales, biases
  int64_t outer_weights = 0, outer_bytes = 0;  // the same of embedding and head
  int64_t tensor_bytes = 0;                    // all tensors

  double decoder_bits() const;  // per decoder weight
  double outer_bits() const;    // per weight of embedding and head
  double file_bits() const;     // all tensors' bits per parameter
};

// Of a model on disk, and of one that is going to be written.
ModelSize model_size(const ModelPlan& plan, std::span<const TensorView> tensors);
ModelSize model_size(const ModelPlan& plan, std::span<const TensorSource> tensors);

}  // namespace bitsmith
