#include "checkpoint/model_size.h"

#include <set>

namespace bitsmith {
namespace {

double bits(int64_t bytes, int64_t weights) {
  return weights > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(weights) : 0.0;
}

template <typename Tensor>
ModelSize sum_of(const ModelConfig& config, std::span<const Tensor> tensors) {
  ModelSize size;
  for (const auto& [name, shape] : expected_tensors(config)) {
    size.parameters += element_count(shape);
  }
  std::set<std::string> modules;
  for (int64_t block_index = 0; block_index < config.num_hidden_layers; ++block_index) {
    for (const LinearShape& linear : block_linears(config, block_index)) {
      modules.insert(linear.name);
      size.decoder_weights += linear.out_features * linear.in_features;
    }
  }
  for (const Tensor& tensor : tensors) {
    const int64_t bytes = byte_size(tensor.dtype, tensor.shape);
    size.tensor_bytes += bytes;
    const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
    if (modules.contains(module)) size.decoder_bytes += bytes;
  }
  return size;
}

}  // namespace

double ModelSize::decoder_bits() const { return bits(decoder_bytes, decoder_weights); }
double ModelSize::file_bits() const { return bits(tensor_bytes, parameters); }

ModelSize model_size(const ModelConfig& config, std::span<const TensorView> tensors) {
  return sum_of(config, tensors);
}
ModelSize model_size(const ModelConfig& config, std::span<const TensorSource> tensors) {
  return sum_of(config, tensors);
}

}  // namespace bitsmith
