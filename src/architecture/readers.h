// The two kinds of model that Checkpoint::open() knows.
#pragma once
#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include "architecture/checkpoint.h"

namespace bitsmith {

// The tensors that a model of a plan uses. Of a quantized one each matrix may be stored as
// parts "MODULE.PART".
class ExpectedNames {
 public:
  ExpectedNames(const ModelPlan& plan, bool quantized);
  bool contains(const std::string& name) const;

 private:
  std::set<std::string> tensors_, modules_;
};

// A directory with config.json and safetensors, dense or quantized.
std::shared_ptr<const Checkpoint> open_hugging_face(const std::filesystem::path& folder);
// A GGUF file of a supported architecture.
std::shared_ptr<const Checkpoint> open_gguf_model(const std::filesystem::path& path);

}  // namespace bitsmith
