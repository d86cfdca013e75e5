#include "runtime/model_source.h"

#include "architecture/model_config.h"
#include "base/error.h"
#include "base/files.h"
#include "format/quantization_config.h"
#include "kernels/cpu_features.h"

namespace bitsmith {
namespace {

class CheckpointSource final : public ModelSource {
 public:
  explicit CheckpointSource(std::shared_ptr<const ModelFiles> files) : files_(std::move(files)) {}

  const ModelPlan& plan() const override { return files_->plan(); }
  const Json& config_json() const override { return files_->checkpoint().config_json(); }
  bool is_quantized() const override { return files_->is_quantized(); }
  double decoder_bits() const override { return files_->decoder_bits(); }
  double file_bits() const override { return files_->file_bits(); }
  uint64_t file_bytes() const override { return files_->checkpoint().file_bytes(); }
  std::string content_hash() const override { return files_->checkpoint().content_hash(); }
  ModelWeights weights(DensePrecision precision, const RunContext& context) const override {
    return load_weights(*files_, precision, context);
  }

 private:
  std::shared_ptr<const ModelFiles> files_;
};

// Codes are laid out as the kernels of one level read them.
void check_isa(const PackedFile& file) {
  const auto packed = json_get<std::string>(file.about(), "isa", file.source());
  if (packed == isa_name(selected_isa())) return;
  bool here = false;
  for (const Isa isa : kIsaLevels) here = here || (packed == isa_name(isa) && cpu_supports(isa));
  throw Error(concat(file.source(), " is packed for the kernels of ", excerpt(packed),
                     ", and this process uses those of ", isa_name(selected_isa()),
                     ": pack the model again here",
                     here ? concat(", or set BITSMITH_ISA=", packed) : std::string()));
}

class PackedSource final : public ModelSource {
 public:
  explicit PackedSource(std::shared_ptr<const PackedFile> file)
      : file_(std::move(file)), config_(read_model_config(ModelTexts(file_))) {
    check_isa(*file_);
    const std::string source = file_->source();
    specs_ = parse_quantization_config(config_.json, config_.plan, source);
    const Json packed_from = json_get<Json>(file_->about(), "packed_from", source);
    decoder_bits_ = json_get<double>(packed_from, "decoder_bits", source);
    file_bits_ = json_get<double>(packed_from, "file_bits", source);
  }

  const ModelPlan& plan() const override { return config_.plan; }
  const Json& config_json() const override { return config_.json; }
  bool is_quantized() const override { return !specs_.empty(); }
  double decoder_bits() const override { return decoder_bits_; }
  double file_bits() const override { return file_bits_; }
  uint64_t file_bytes() const override { return file_->bytes().size(); }
  std::string content_hash() const override { return sha256(file_->bytes()); }
  ModelWeights weights(DensePrecision, const RunContext&) const override {
    if (file_->file() && file_bytes() < available_memory_bytes()) file_->file()->prefetch();
    return map_weights(config_.plan, specs_, file_);
  }

 private:
  std::shared_ptr<const PackedFile> file_;
  ModelConfig config_;
  SpecMap specs_;
  double decoder_bits_ = 0, file_bits_ = 0;
};

}  // namespace

std::unique_ptr<const ModelSource> ModelSource::open(const std::filesystem::path& path) {
  if (PackedFile::recognizes(path)) return from(PackedFile::open(path));
  return std::make_unique<CheckpointSource>(ModelFiles::open(path));
}

std::unique_ptr<const ModelSource> ModelSource::from(std::shared_ptr<const PackedFile> file) {
  return std::make_unique<PackedSource>(std::move(file));
}

}  // namespace bitsmith
