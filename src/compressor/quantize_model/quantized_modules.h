// Finished modules of a quantized model in OUT.partial: one safetensors file a block, with the
// summaries of its linears. What resuming reads is what the result is made of.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "compressor/quantize_model/quantize_model.h"
#include "compressor/torch.h"
#include "format/quantized_tensor.h"

namespace bitsmith {

struct QuantizedModules {
  std::map<std::string, QuantizedTensor> matrices;  // by module
  std::map<std::string, torch::Tensor> dense;  // norms and biases that fine-tuning changed, F16
  std::vector<LinearSummary> linears;          // in model order
  OrderedJson finetune;                        // errors before and after; null without
  double finetune_seconds = 0;
};

// Atomic. `request_hash` is that of the request (model, data, options) that the file belongs to.
void write_modules(const std::filesystem::path& path, const QuantizedModules& modules,
                   const std::string& request_hash);

// Views into the map. Throws Error when the file is damaged, belongs to other work, or does not
// hold exactly `expected` (module -> representation and sizes).
QuantizedModules read_modules(const std::filesystem::path& path,
                              const std::vector<LinearPlan>& expected,
                              const std::map<std::string, RepresentationSpec>& specs,
                              const std::string& request_hash);

OrderedJson to_json(const LinearSummary& linear);  // without its time: results hold none
LinearSummary linear_from_json(const Json& json, const std::string& source);

}  // namespace bitsmith
