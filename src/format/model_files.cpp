#include <string_view>

#include "architecture/model_size.h"
#include "base/error.h"
#include "format/quantization_config.h"
#include "format/quantized_checkpoint.h"

namespace bitsmith {
namespace {

// A tied head is the embedding's matrix.
const std::string& stored_module(const ModelPlan& plan, const std::string& module) {
  return plan.tied && module == plan.head.name ? plan.embedding.name : module;
}

// "model.norm" from "model.norm.weight"; empty when the name has another ending.
std::string module_of_weight(const std::string& name) {
  constexpr std::string_view kWeight = ".weight";
  return name.ends_with(kWeight) ? name.substr(0, name.size() - kWeight.size()) : "";
}

}  // namespace

std::shared_ptr<const ModelFiles> ModelFiles::open(const std::filesystem::path& path) {
  return from(Checkpoint::open(path));
}

std::shared_ptr<const ModelFiles> ModelFiles::from(std::shared_ptr<const Checkpoint> checkpoint) {
  const auto files = std::make_shared<ModelFiles>();
  files->checkpoint_ = std::move(checkpoint);
  const Checkpoint& source = files->checkpoint();
  files->specs_ = parse_quantization_config(source.config_json(), source.plan(),
                                            (source.path() / "config.json").string());
  files->hf_aqlm_ = is_hf_aqlm(source.config_json());
  for (const LinearPlan& matrix : quantizable_matrices(source.plan())) {
    files->matrices_[matrix.name] = matrix;
  }
  for (const PlannedTensor& planned : planned_tensors(source.plan())) {
    const std::string& name = planned.name;
    const std::string module = module_of_weight(name);
    if (!files->specs_.contains(module)) {
      check_dense_tensor(source, name, planned.shape);
    } else if (source.find(name)) {
      throw Error(concat(source.path().string(), ": ", module,
                         " is to be quantized in config.json, but the file also has ", name));
    } else {
      verify(files->quantized(module), concat(source.path().string(), ": ", module));
    }
  }
  for (const TensorView& tensor : source.tensors()) files->check_is_part(tensor.name);
  return files;
}

// A quantized matrix with arrays that its representation does not have would decode to other
// weights than those meant.
void ModelFiles::check_is_part(const std::string& tensor) const {
  const size_t dot = tensor.rfind('.');
  const std::string module = tensor.substr(0, dot == std::string::npos ? 0 : dot);
  const auto found = specs_.find(module);
  if (found == specs_.end() || tensor.ends_with(".bias")) return;
  const LinearPlan& matrix = matrices_.at(module);
  const std::string name = tensor.substr(dot + 1);
  for (const PartLayout& part :
       part_layout(found->second, matrix.out_features, matrix.in_features)) {
    if (part.name == name) return;
  }
  throw Error(concat(checkpoint_->path().string(), ": ", excerpt(tensor), " is no part of ",
                     to_string(found->second), ", which ", module, " has in config.json"));
}

std::optional<RepresentationSpec> ModelFiles::spec(const std::string& module) const {
  const auto found = specs_.find(stored_module(plan(), module));
  if (found == specs_.end()) return std::nullopt;
  return found->second;
}

QuantizedTensor ModelFiles::quantized(const std::string& module) const {
  const std::string& stored = stored_module(plan(), module);
  BITSMITH_CHECK(specs_.contains(stored));
  const LinearPlan& matrix = matrices_.at(stored);
  QuantizedTensor tensor;
  tensor.spec = specs_.at(stored);
  tensor.out_features = matrix.out_features;
  tensor.in_features = matrix.in_features;
  for (const PartLayout& part :
       part_layout(tensor.spec, tensor.out_features, tensor.in_features, stored)) {
    TensorView view = checkpoint_->at(stored + "." + part.name);
    view.name = part.name;
    tensor.parts.push_back(view);
  }
  tensor.storage = checkpoint_;
  if (hf_aqlm_) pack_hf_codes(tensor, stored);
  return tensor;
}

double ModelFiles::decoder_bits() const {
  return model_size(plan(), checkpoint_->tensors()).decoder_bits();
}

double ModelFiles::file_bits() const {
  return model_size(plan(), checkpoint_->tensors()).file_bits();
}

}  // namespace bitsmith
