// A model as the runtime opens it: a checkpoint, whose weights are laid out for the kernels when
// they are loaded, or a packed file, which holds them laid out.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/run_context.h"
#include "runtime/weights.h"

namespace bitsmith {

class ModelSource {
 public:
  // Throws Error for what is no model, and for a file packed for other kernels than this process
  // uses.
  static std::unique_ptr<const ModelSource> open(const std::filesystem::path& path);
  // Of a packed file that is open already, or lies in memory.
  static std::unique_ptr<const ModelSource> from(std::shared_ptr<const PackedFile> file);
  virtual ~ModelSource() = default;

  virtual const ModelPlan& plan() const = 0;
  virtual const Json& config_json() const = 0;
  virtual bool is_quantized() const = 0;  // any matrix at all
  // True bits a weight (ModelFiles), a packed file's those of the checkpoint that it was made from;
  // the bytes on disk, and a hash of what is judged, which reads all of it.
  virtual double decoder_bits() const = 0;
  virtual double file_bits() const = 0;
  virtual uint64_t file_bytes() const = 0;
  virtual std::string content_hash() const = 0;

  // A packed file has dense matrices in the precision that it was packed with, kFast.
  virtual ModelWeights weights(DensePrecision precision, const RunContext& context = {}) const = 0;
};

}  // namespace bitsmith
