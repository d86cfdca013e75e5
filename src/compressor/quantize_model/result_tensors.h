// The tensors of a quantized model, and the size of the files that hold them before it is made.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "architecture/model_size.h"
#include "checkpoint/tensor_source.h"
#include "compressor/quantize_model/quantization_plan.h"

namespace bitsmith {

// In the order of the file: the parts of each matrix for whose module `parts` gives any, all other
// tensors by their names from `dense`.
std::vector<TensorSource> result_tensors(
    const ModelPlan& model,
    const std::function<std::optional<std::vector<TensorSource>>(const std::string& module)>& parts,
    const std::function<TensorSource(const std::string& name)>& dense);

// `files` must outlive it. Not thread-safe: dense tensors are looked at when they are first asked
// for, and remembered.
class ResultSizes {
 public:
  explicit ResultSizes(const ModelFiles& files) : files_(files) {}

  // Of the weight files, headers included, as write_quantized_checkpoint() makes them; at most
  // that, where Hugging Face's form makes float32 tensors fp16.
  uint64_t file_bytes(const QuantizationPlan& plan) const;
  ModelSize model_size(const QuantizationPlan& plan) const;

 private:
  std::vector<TensorSource> tensors(const QuantizationPlan& plan) const;

  const ModelFiles& files_;
  mutable std::map<std::string, TensorSource> dense_;
};

}  // namespace bitsmith
