#include "architecture/model_size.h"

#include <set>

namespace bitsmith {
namespace {

double bits(int64_t bytes, int64_t weights) {
  return weights > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(weights) : 0.0;
}

template <typename Tensor>
ModelSize sum_of(const ModelPlan& plan, std::span<const Tensor> tensors) {
  ModelSize size;
  for (const PlannedTensor& tensor : planned_tensors(plan))
    size.parameters += element_count(tensor.shape);
  std::set<std::string> modules;
  for (const BlockPlan& block : plan.blocks) {
    for (const LinearPlan* linear : linears(block)) {
      modules.insert(linear->name);
      size.decoder_weights += linear->out_features * linear->in_features;
    }
  }
  size.outer_weights = plan.embedding.out_features * plan.embedding.in_features;
  if (!plan.tied) size.outer_weights += plan.head.out_features * plan.head.in_features;
  for (const Tensor& tensor : tensors) {
    const int64_t bytes = byte_size(tensor.dtype, tensor.shape);
    size.tensor_bytes += bytes;
    const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
    if (modules.contains(module)) size.decoder_bytes += bytes;
    if (is_outer_matrix(plan, module)) size.outer_bytes += bytes;
  }
  return size;
}

}  // namespace

double ModelSize::decoder_bits() const { return bits(decoder_bytes, decoder_weights); }
double ModelSize::outer_bits() const { return bits(outer_bytes, outer_weights); }
double ModelSize::file_bits() const { return bits(tensor_bytes, parameters); }

ModelSize model_size(const ModelPlan& plan, std::span<const TensorView> tensors) {
  return sum_of(plan, tensors);
}
ModelSize model_size(const ModelPlan& plan, std::span<const TensorSource> tensors) {
  return sum_of(plan, tensors);
}

}  // namespace bitsmith
