// A model's weights, prepared for the kernels.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "base/random.h"
#include "format/quantized_checkpoint.h"
#include "runtime/matrices/weight_matrix.h"

namespace bitsmith {

// y = W x + bias. An empty bias is none. (Not `Linear`: that is the compressor's.)
struct WeightAndBias {
  std::unique_ptr<WeightMatrix> matrix;  // [out_features, in_features]
  std::vector<float> bias;               // [out_features]
};

struct BlockWeights {
  std::vector<float> input_norm, post_attention_norm;  // [hidden]
  std::vector<float> q_norm, k_norm;                   // [head_dim], empty without qk_norm
  WeightAndBias q, k, v, o, gate, up, down;
};

struct ModelWeights {
  ModelConfig config;
  std::shared_ptr<WeightMatrix> embedding;  // [vocab, hidden]
  std::shared_ptr<WeightMatrix> head;       // the same matrix when tied
  std::vector<BlockWeights> blocks;
  std::vector<float> final_norm;  // [hidden]
};

// How dense matrices are kept. kFast: bfloat16. kExact: bfloat16 where the file holds bfloat16,
// float32 elsewhere, so that nothing is rounded.
enum class DensePrecision { kFast, kExact };

ModelWeights load_weights(const ModelFiles& files, DensePrecision precision);

// Random weights of a model's shape, for speed measurements without the model: linears in
// `spec` (dense bfloat16 without one), embedding and head dense.
ModelWeights random_weights(const ModelConfig& config,
                            const std::optional<RepresentationSpec>& spec, uint64_t seed);

}  // namespace bitsmith
