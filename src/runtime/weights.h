// A model's weights, prepared for the kernels.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "base/random.h"
#include "base/run_context.h"
#include "checkpoint/packed_file.h"
#include "format/quantization_config.h"
#include "format/quantized_checkpoint.h"
#include "runtime/matrices/weight_matrix.h"

namespace bitsmith {

// y = W x + bias. An empty bias is none. (Not `Linear`: that is the compressor's.)
struct WeightAndBias {
  std::unique_ptr<WeightMatrix> matrix;  // [out_features, in_features]
  std::vector<float> bias;               // [out_features]
};

struct NormWeights {
  std::vector<float> weight, bias;  // [size]; no weight: there is no norm
};

struct MlpWeights {
  std::vector<WeightAndBias> inputs;  // as MlpPlan::inputs
  WeightAndBias output;
};

struct BlockWeights {
  NormWeights attention_norm, attention_output_norm, mlp_norm, mlp_output_norm;
  NormWeights q_norm, k_norm;
  std::vector<WeightAndBias> attention_inputs;  // as AttentionPlan::inputs
  WeightAndBias attention_output;
  WeightAndBias router;          // where there are experts
  std::vector<MlpWeights> mlps;  // one, or one an expert
};

struct ModelWeights {
  ModelPlan plan;
  std::shared_ptr<WeightMatrix> embedding;  // [vocab, hidden]
  std::shared_ptr<WeightMatrix> head;       // the same matrix when tied
  std::unique_ptr<WeightMatrix> positions;  // learned ones, or null
  NormWeights embedding_norm, final_norm;
  std::vector<BlockWeights> blocks;
};

// How dense matrices are kept, but for routers and learned positions, which are kExact always.
// kFast: bfloat16. kExact: bfloat16 where the file holds bfloat16, float32 elsewhere, so that
// nothing is rounded.
enum class DensePrecision { kFast, kExact };

// Lays the weights of a checkpoint out for the kernels, in arrays of `store`; shows progress, and
// gives the pages of the files back that it has read. Throws Interrupted when the context says so.
ModelWeights load_weights(const ModelFiles& files, DensePrecision precision, ArrayStore& store,
                          const RunContext& context = {});
// In memory of their own.
ModelWeights load_weights(const ModelFiles& files, DensePrecision precision,
                          const RunContext& context = {});

// Takes the arrays that lie in a packed file, whose specs are given. Reads only codes that could be
// out of range.
ModelWeights map_weights(const ModelPlan& plan, const SpecMap& specs,
                         const std::shared_ptr<const PackedFile>& file);

// Random weights of a model's shape, for speed measurements without the model: the blocks' linears
// in `spec`, embedding and head in `outer`; dense bfloat16 without one.
ModelWeights random_weights(const ModelPlan& plan, const std::optional<RepresentationSpec>& spec,
                            const std::optional<RepresentationSpec>& outer, uint64_t seed);

// Every matrix under its module's name, in the model's order. Valid while the weights are.
struct NamedMatrix {
  std::string name;
  const WeightMatrix* matrix;
};
std::vector<NamedMatrix> named_matrices(const ModelWeights& weights);

// Bytes of the matrices that one generated token reads; of experts the mean of those that it uses.
uint64_t bytes_per_token(const ModelWeights& weights);

}  // namespace bitsmith
