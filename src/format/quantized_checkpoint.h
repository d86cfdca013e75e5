// The quantized checkpoint: a Hugging Face directory whose matrices are dense or quantized.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "architecture/checkpoint.h"
#include "base/json.h"
#include "checkpoint/tensor_source.h"
#include "format/output_folder.h"
#include "format/quantized_tensor.h"

namespace bitsmith {

// A model as every engine opens it, original or quantized. Matrices are asked for by module name
// (plan().embedding.name, ...).
class ModelFiles {
 public:
  // Opens a Hugging Face directory, a GGUF file, or a Bitsmith directory, and verifies that every
  // matrix that the config expects is there, dense or quantized, with the right shapes. Throws
  // Error.
  static std::shared_ptr<const ModelFiles> open(const std::filesystem::path& path);
  // The same checks for a checkpoint that is open already, or that lies in memory.
  static std::shared_ptr<const ModelFiles> from(std::shared_ptr<const Checkpoint> checkpoint);

  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const ModelPlan& plan() const { return checkpoint_->plan(); }
  bool is_quantized() const { return !specs_.empty(); }  // any matrix at all
  // The spec of a module, or nothing when it is dense. A tied head's is the embedding's.
  std::optional<RepresentationSpec> spec(const std::string& module) const;
  // Every quantized module.
  const std::map<std::string, RepresentationSpec>& specs() const { return specs_; }
  // Views into the map; codes that Hugging Face's AQLM does not pack are packed.
  QuantizedTensor quantized(const std::string& module) const;

  // True bits a weight: bytes of all tensors of the blocks' linears (dense ones too) over their
  // weights.
  double decoder_bits() const;
  // The bytes of all tensors over all weights of the model, embeddings and norms included.
  double file_bits() const;

 private:
  void check_is_part(const std::string& tensor) const;

  std::shared_ptr<const Checkpoint> checkpoint_;
  std::map<std::string, RepresentationSpec> specs_;
  std::map<std::string, LinearPlan> matrices_;  // what may be quantized, by module
  bool hf_aqlm_ = false;                        // as Hugging Face has it, codes not packed
};

// What a writer collects: tensors by final name, specs of the quantized modules, and the recipe.
struct QuantizedCheckpointContent {
  std::map<std::string, RepresentationSpec> specs;  // module -> spec
  // Dense tensors ("X.weight"), in the plan's layout, and parts ("X.codes"); file order.
  std::vector<TensorSource> tensors;
  OrderedJson recipe;      // bitsmith.json
  std::string model_card;  // README.md
};

// Writes a whole directory at `folder` (which exists and is a work folder, OUT.partial):
// config.json with quantization_config, model*.safetensors, bitsmith.json, README.md, and the base
// model's tokenizer, generation config, chat template and license files copied over (for a GGUF
// they are made from its keys, see format/companion_files.h).
// Where Hugging Face's "aqlm" can hold the model (see quantization_config.h) dense tensors become
// F16 and the directory is such a checkpoint, else it is "bitsmith" with dense tensors as given
// (F32, F16 or BF16). Holds one tensor at a time; dense ones are made once more where their range
// is looked at.
void write_quantized_checkpoint(const std::filesystem::path& folder, const Checkpoint& base,
                                const QuantizedCheckpointContent& content);

}  // namespace bitsmith
