#include "runtime/weights.h"

#include <algorithm>
#include <functional>

#include "format/random_tensor.h"

namespace bitsmith {
namespace {

// Where matrices and vectors come from: a checkpoint, or chance.
struct WeightSource {
  std::function<std::unique_ptr<WeightMatrix>(const std::string& module, int64_t out_features,
                                              int64_t in_features)>
      matrix;
  std::function<std::vector<float>(const std::string& tensor, int64_t count)> vector;
};

ModelWeights assemble(const ModelConfig& config, const WeightSource& source) {
  ModelWeights weights;
  weights.config = config;
  weights.embedding = source.matrix("model.embed_tokens", config.vocab_size, config.hidden_size);
  weights.head = config.tie_word_embeddings
                     ? weights.embedding
                     : source.matrix("lm_head", config.vocab_size, config.hidden_size);
  weights.final_norm = source.vector("model.norm.weight", config.hidden_size);
  for (int64_t block_index = 0; block_index < config.num_hidden_layers; ++block_index) {
    const std::string prefix = concat("model.layers.", block_index, ".");
    BlockWeights& block = weights.blocks.emplace_back();
    block.input_norm = source.vector(prefix + "input_layernorm.weight", config.hidden_size);
    block.post_attention_norm =
        source.vector(prefix + "post_attention_layernorm.weight", config.hidden_size);
    if (config.qk_norm) {
      block.q_norm = source.vector(prefix + "self_attn.q_norm.weight", config.head_dim);
      block.k_norm = source.vector(prefix + "self_attn.k_norm.weight", config.head_dim);
    }
    const auto shapes = block_linears(config, block_index);
    WeightAndBias* const linears[] = {&block.q,    &block.k,  &block.v,   &block.o,
                                      &block.gate, &block.up, &block.down};
    BITSMITH_CHECK(shapes.size() == std::size(linears));
    for (size_t i = 0; i < shapes.size(); ++i) {
      const LinearShape& shape = shapes[i];
      linears[i]->matrix = source.matrix(shape.name, shape.out_features, shape.in_features);
      if (shape.bias) linears[i]->bias = source.vector(shape.name + ".bias", shape.out_features);
    }
  }
  return weights;
}

}  // namespace

ModelWeights load_weights(const ModelFiles& files, DensePrecision precision) {
  const Checkpoint& checkpoint = files.checkpoint();
  WeightSource source;
  source.matrix = [&](const std::string& module, int64_t out_features, int64_t in_features) {
    if (files.spec(module)) return make_quantized_matrix(files.quantized(module));
    const std::string name = module + ".weight";
    const bool as_bfloat16 =
        precision == DensePrecision::kFast || checkpoint.at(name).dtype == DType::BF16;
    return make_dense_matrix(out_features, in_features, as_bfloat16,
                             [&](int64_t first, int64_t count, std::span<float> out) {
                               checkpoint.read_rows(name, first, count, out);
                             });
  };
  source.vector = [&](const std::string& tensor, int64_t count) {
    std::vector<float> values = checkpoint.read(tensor);
    BITSMITH_CHECK(static_cast<int64_t>(values.size()) == count);  // ModelFiles verified it
    return values;
  };
  return assemble(files.config(), source);
}

ModelWeights random_weights(const ModelConfig& config,
                            const std::optional<RepresentationSpec>& spec, uint64_t seed) {
  Random random(seed);
  WeightSource source;
  source.vector = [](const std::string&, int64_t count) {
    return std::vector<float>(static_cast<size_t>(count), 1.0f);
  };
  source.matrix = [&](const std::string& module, int64_t out_features,
                      int64_t in_features) -> std::unique_ptr<WeightMatrix> {
    const bool linear = module != "model.embed_tokens" && module != "lm_head";
    if (!linear || !spec) {
      return make_dense_matrix(out_features, in_features, true,
                               [&](int64_t, int64_t, std::span<float> out) {
                                 for (float& w : out)
                                   w = static_cast<float>(random.uniform() - 0.5) * 0.05f;
                               });
    }
    return make_quantized_matrix(random_tensor(*spec, out_features, in_features, random, 0.03));
  };
  return assemble(config, source);
}

}  // namespace bitsmith
