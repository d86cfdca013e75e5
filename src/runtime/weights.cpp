#include "runtime/weights.h"

#include <functional>
#include <map>

#include "format/random_tensor.h"

namespace bitsmith {
namespace {

// Where matrices and vectors come from: a checkpoint, or chance.
struct WeightSource {
  std::function<std::unique_ptr<WeightMatrix>(const LinearPlan&, DensePrecision)> matrix;
  DensePrecision precision;
  std::function<std::vector<float>(const std::string& tensor, int64_t count)> vector;

  WeightAndBias linear(const LinearPlan& plan) const { return linear(plan, precision); }
  WeightAndBias linear(const LinearPlan& plan, DensePrecision asked) const {
    WeightAndBias result{matrix(plan, asked), {}};
    if (plan.bias) result.bias = vector(plan.name + ".bias", plan.out_features);
    return result;
  }
  NormWeights norm(const NormPlan& plan) const {
    NormWeights result;
    if (!plan.exists()) return result;
    result.weight = vector(plan.name + ".weight", plan.size);
    if (plan.bias()) result.bias = vector(plan.name + ".bias", plan.size);
    return result;
  }
  MlpWeights mlp(const MlpPlan& plan) const {
    MlpWeights result;
    for (const LinearPlan& input : plan.inputs) result.inputs.push_back(linear(input));
    result.output = linear(plan.output);
    return result;
  }
};

BlockWeights assemble_block(const BlockPlan& plan, const WeightSource& source) {
  BlockWeights block;
  block.attention_norm = source.norm(plan.attention_norm);
  block.attention_output_norm = source.norm(plan.attention_output_norm);
  block.mlp_norm = source.norm(plan.mlp_norm);
  block.mlp_output_norm = source.norm(plan.mlp_output_norm);
  block.q_norm = source.norm(plan.attention.q_norm);
  block.k_norm = source.norm(plan.attention.k_norm);
  for (const LinearPlan& input : plan.attention.inputs)
    block.attention_inputs.push_back(source.linear(input));
  block.attention_output = source.linear(plan.attention.output);
  if (plan.mlp) block.mlps.push_back(source.mlp(*plan.mlp));
  if (plan.experts) {
    // Rounding would send tokens to other experts.
    block.router = source.linear(plan.experts->router, DensePrecision::kExact);
    for (const MlpPlan& expert : plan.experts->experts) block.mlps.push_back(source.mlp(expert));
  }
  return block;
}

ModelWeights assemble(const ModelPlan& plan, const WeightSource& source) {
  ModelWeights weights;
  weights.plan = plan;
  weights.embedding = source.matrix(plan.embedding, source.precision);
  weights.head = plan.tied ? weights.embedding : source.matrix(plan.head, source.precision);
  if (plan.positions.exists())
    weights.positions = source.matrix(plan.positions, DensePrecision::kExact);
  weights.embedding_norm = source.norm(plan.embedding_norm);
  weights.final_norm = source.norm(plan.final_norm);
  for (const BlockPlan& block : plan.blocks)
    weights.blocks.push_back(assemble_block(block, source));
  return weights;
}

}  // namespace

ModelWeights load_weights(const ModelFiles& files, DensePrecision precision) {
  const Checkpoint& checkpoint = files.checkpoint();
  WeightSource source;
  source.precision = precision;
  source.matrix = [&](const LinearPlan& plan, DensePrecision asked) {
    if (files.spec(plan.name)) return make_quantized_matrix(files.quantized(plan.name));
    const std::string name = plan.name + ".weight";
    const bool as_bfloat16 =
        asked == DensePrecision::kFast || checkpoint.at(name).dtype == DType::BF16;
    return make_dense_matrix(plan.out_features, plan.in_features, as_bfloat16,
                             [&](int64_t first, int64_t count, std::span<float> out) {
                               checkpoint.read_rows(name, first, count, out);
                             });
  };
  source.vector = [&](const std::string& tensor, int64_t count) {
    std::vector<float> values = checkpoint.read(tensor);
    BITSMITH_CHECK(static_cast<int64_t>(values.size()) == count);  // ModelFiles verified it
    return values;
  };
  return assemble(files.plan(), source);
}

ModelWeights random_weights(const ModelPlan& plan, const std::optional<RepresentationSpec>& spec,
                            const std::optional<RepresentationSpec>& outer, uint64_t seed) {
  Random random(seed);
  WeightSource source;
  source.precision = DensePrecision::kFast;
  source.vector = [](const std::string&, int64_t count) {
    return std::vector<float>(static_cast<size_t>(count), 1.0f);
  };
  std::map<std::string, const RepresentationSpec*> specs;
  for (const LinearPlan& matrix : quantizable_matrices(plan)) {
    const auto& own = is_outer_matrix(plan, matrix.name) ? outer : spec;
    if (own) specs[matrix.name] = &*own;
  }
  source.matrix = [&](const LinearPlan& linear, DensePrecision) -> std::unique_ptr<WeightMatrix> {
    const auto found = specs.find(linear.name);
    if (found == specs.end()) {
      return make_dense_matrix(linear.out_features, linear.in_features, true,
                               [&](int64_t, int64_t, std::span<float> out) {
                                 for (float& w : out)
                                   w = static_cast<float>(random.uniform() - 0.5) * 0.05f;
                               });
    }
    return make_quantized_matrix(
        random_tensor(*found->second, linear.out_features, linear.in_features, random, 0.03));
  };
  return assemble(plan, source);
}

uint64_t bytes_per_token(const ModelWeights& weights) {
  uint64_t bytes = weights.head->bytes();
  for (size_t b = 0; b < weights.blocks.size(); ++b) {
    const BlockWeights& block = weights.blocks[b];
    for (const WeightAndBias& input : block.attention_inputs) bytes += input.matrix->bytes();
    bytes += block.attention_output.matrix->bytes();
    if (block.router.matrix) bytes += block.router.matrix->bytes();
    uint64_t mlps = 0;
    for (const MlpWeights& mlp : block.mlps) {
      for (const WeightAndBias& input : mlp.inputs) mlps += input.matrix->bytes();
      mlps += mlp.output.matrix->bytes();
    }
    // Experts may have different representations: a token reads the mean of those that it uses.
    const auto& experts = weights.plan.blocks[b].experts;
    const auto used = static_cast<uint64_t>(experts ? experts->experts_per_token : 1);
    bytes += mlps * used / block.mlps.size();
  }
  return bytes;
}

}  // namespace bitsmith
