#include "runtime/weights.h"

#include <algorithm>
#include <functional>
#include <map>

#include "architecture/site_weights.h"
#include "base/error.h"
#include "base/log.h"
#include "format/random_tensor.h"
#include "runtime/packed_arrays.h"

namespace bitsmith {
namespace {

// Where matrices and vectors come from: a checkpoint, a packed file, or chance.
struct WeightSource {
  ArrayStore& store;
  DensePrecision precision;
  std::function<std::unique_ptr<WeightMatrix>(const LinearPlan&, DensePrecision,
                                              const MatrixArrays&)>
      make_matrix = {};
  // Where the store does not hold a tensor.
  std::function<void(const std::string& tensor, std::span<float>)> fill_vector = {};

  std::unique_ptr<WeightMatrix> matrix(const LinearPlan& plan, DensePrecision asked) const {
    return make_matrix(plan, asked, {store, plan.name});
  }
  std::vector<float> vector(const std::string& module, const std::string& name,
                            int64_t count) const {
    const auto values = MatrixArrays(store, module).get<float>(name, count, [&](float* to) {
      fill_vector(module + "." + name, {to, static_cast<size_t>(count)});
    });
    return {values.begin(), values.end()};
  }
  WeightAndBias linear(const LinearPlan& plan) const { return linear(plan, precision); }
  WeightAndBias linear(const LinearPlan& plan, DensePrecision asked) const {
    WeightAndBias result{matrix(plan, asked), {}};
    if (plan.bias) result.bias = vector(plan.name, "bias", plan.out_features);
    return result;
  }
  NormWeights norm(const NormPlan& plan) const {
    NormWeights result;
    if (!plan.exists()) return result;
    result.weight = vector(plan.name, "weight", plan.size);
    if (plan.bias()) result.bias = vector(plan.name, "bias", plan.size);
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

// Tensors of a checkpoint that are read one after another, each once.
class TensorReading {
 public:
  TensorReading(const Checkpoint& checkpoint, const RunContext& context)
      : checkpoint_(checkpoint), context_(context), task_(context, "loading weights") {
    for (const TensorView& tensor : checkpoint.tensors()) all_ += tensor.bytes.size();
  }
  void has_read(const std::string& tensor) {
    if (context_.cancelled())
      throw Interrupted("stopped while weights were loaded; the same command begins anew");
    checkpoint_.release(tensor);
    done_ += checkpoint_.at(tensor).bytes.size();
    if (done_ == all_) return;  // a load that nobody waits for is not worth a line
    const auto done = static_cast<double>(done_), all = static_cast<double>(all_);
    task_.update(done / all, concat(format_bytes(done), " of ", format_bytes(all)));
  }

 private:
  const Checkpoint& checkpoint_;
  const RunContext& context_;
  ReportedTask task_;
  uint64_t done_ = 0, all_ = 0;
};

}  // namespace

ModelWeights load_weights(const ModelFiles& files, DensePrecision precision, ArrayStore& store,
                          const RunContext& context) {
  const Checkpoint& checkpoint = files.checkpoint();
  TensorReading reading(checkpoint, context);
  WeightSource source{store, precision};
  source.make_matrix = [&](const LinearPlan& plan, DensePrecision asked,
                           const MatrixArrays& arrays) {
    if (files.spec(plan.name)) {
      const QuantizedTensor tensor = files.quantized(plan.name);
      auto matrix = make_quantized_matrix(tensor, arrays);
      for (const TensorView& part : tensor.parts) reading.has_read(plan.name + "." + part.name);
      return matrix;
    }
    const std::string name = plan.name + ".weight";
    const bool as_bfloat16 =
        asked == DensePrecision::kFast || checkpoint.at(name).dtype == DType::BF16;
    auto matrix = make_dense_matrix(plan.out_features, plan.in_features, as_bfloat16, arrays,
                                    [&](int64_t first, int64_t count, std::span<float> out) {
                                      checkpoint.read_rows(name, first, count, out);
                                    });
    reading.has_read(name);
    return matrix;
  };
  source.fill_vector = [&](const std::string& tensor, std::span<float> out) {
    const std::vector<float> values = checkpoint.read(tensor);
    BITSMITH_CHECK(values.size() == out.size());  // ModelFiles verified it
    std::ranges::copy(values, out.begin());
    reading.has_read(tensor);
  };
  return assemble(files.plan(), source);
}

ModelWeights load_weights(const ModelFiles& files, DensePrecision precision,
                          const RunContext& context) {
  NewArrays arrays;
  return load_weights(files, precision, arrays, context);
}

ModelWeights map_weights(const ModelPlan& plan, const SpecMap& specs,
                         const std::shared_ptr<const PackedFile>& file) {
  PackedArrays arrays(file);
  // The file says how dense matrices are kept, and holds every vector.
  WeightSource source{arrays, DensePrecision::kFast};
  source.make_matrix = [&](const LinearPlan& linear, DensePrecision, const MatrixArrays& own) {
    const auto found = specs.find(linear.name);
    if (found == specs.end()) {
      const bool as_bfloat16 = arrays.has(linear.name + "." + kDenseBfloat16);
      return make_dense_matrix(linear.out_features, linear.in_features, as_bfloat16, own, {});
    }
    QuantizedTensor tensor;
    tensor.spec = found->second;
    tensor.out_features = linear.out_features;
    tensor.in_features = linear.in_features;
    return make_quantized_matrix(tensor, own);
  };
  return assemble(plan, source);
}

ModelWeights random_weights(const ModelPlan& plan, const std::optional<RepresentationSpec>& spec,
                            const std::optional<RepresentationSpec>& outer, uint64_t seed) {
  Random random(seed);
  NewArrays arrays;
  WeightSource source{arrays, DensePrecision::kFast};
  source.fill_vector = [](const std::string&, std::span<float> out) {
    std::ranges::fill(out, 1.0f);
  };
  std::map<std::string, const RepresentationSpec*> specs;
  for (const LinearPlan& matrix : quantizable_matrices(plan)) {
    const auto& own = is_outer_matrix(plan, matrix.name) ? outer : spec;
    if (own) specs[matrix.name] = &*own;
  }
  source.make_matrix = [&](const LinearPlan& linear, DensePrecision, const MatrixArrays& own) {
    const auto found = specs.find(linear.name);
    if (found == specs.end()) {
      return make_dense_matrix(linear.out_features, linear.in_features, true, own,
                               [&](int64_t, int64_t, std::span<float> out) {
                                 for (float& w : out)
                                   w = static_cast<float>(random.uniform() - 0.5) * 0.05f;
                               });
    }
    return make_quantized_matrix(
        random_tensor(*found->second, linear.out_features, linear.in_features, random, 0.03), own);
  };
  return assemble(plan, source);
}

std::vector<NamedMatrix> named_matrices(const ModelWeights& weights) {
  const ModelPlan& plan = weights.plan;
  std::vector<NamedMatrix> named = {{plan.embedding.name, weights.embedding.get()}};
  if (weights.positions) named.push_back({plan.positions.name, weights.positions.get()});
  for (size_t b = 0; b < weights.blocks.size(); ++b) {
    const BlockPlan& block = plan.blocks[b];
    const BlockWeights& held = weights.blocks[b];
    if (block.experts) named.push_back({block.experts->router.name, held.router.matrix.get()});
    for (const Site& site : sites(block)) {
      const auto own = site_weights(held, site);
      for (size_t i = 0; i < own.size(); ++i)
        named.push_back({site.linears[i]->name, own[i]->matrix.get()});
    }
  }
  if (!plan.tied) named.push_back({plan.head.name, weights.head.get()});
  return named;
}

uint64_t bytes_per_token(const ModelWeights& weights) {
  uint64_t bytes = weights.head->bytes();
  for (size_t b = 0; b < weights.blocks.size(); ++b) {
    const BlockPlan& plan = weights.plan.blocks[b];
    const BlockWeights& block = weights.blocks[b];
    uint64_t of_experts = 0;
    for (const Site& site : sites(plan)) {
      for (const WeightAndBias* own : site_weights(block, site))
        (site.expert < 0 ? bytes : of_experts) += own->matrix->bytes();
    }
    if (!plan.experts) continue;
    bytes += block.router.matrix->bytes();
    // Experts may have different representations: a token reads the mean of those that it uses.
    bytes += of_experts * static_cast<uint64_t>(plan.experts->experts_per_token) /
             plan.experts->experts.size();
  }
  return bytes;
}

}  // namespace bitsmith
