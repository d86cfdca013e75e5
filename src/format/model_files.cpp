#include <cstring>
#include <string_view>

#include "base/error.h"
#include "checkpoint/model_size.h"
#include "format/bit_packing.h"
#include "format/quantization_config.h"
#include "format/quantized_checkpoint.h"

namespace bitsmith {
namespace {

// A tied head is the embedding's matrix.
const std::string& stored_module(const ModelConfig& config, const std::string& module) {
  static const std::string embedding = "model.embed_tokens";
  return config.tie_word_embeddings && module == "lm_head" ? embedding : module;
}

// "model.norm" from "model.norm.weight"; empty when the name has another ending.
std::string module_of_weight(const std::string& name) {
  constexpr std::string_view kWeight = ".weight";
  return name.ends_with(kWeight) ? name.substr(0, name.size() - kWeight.size()) : "";
}

// Hugging Face's AQLM keeps codes of B bits as int8 (B up to 8) or int16, c >= 2^(B-1) as c - 2^B;
// where that is not the packed row already, `codes` is replaced by it.
void pack_hf_codes(QuantizedTensor& tensor, const std::string& module) {
  const auto& spec = std::get<AdditiveSpec>(tensor.spec);
  if (spec.nbits_per_codebook == 8 || spec.nbits_per_codebook == 16) return;
  TensorView& codes = tensor.parts.front();
  const int64_t groups = tensor.in_features / spec.in_group_size;
  const std::vector<int64_t> shape = {tensor.out_features, groups, spec.num_codebooks};
  const DType dtype = spec.nbits_per_codebook < 8 ? DType::I8 : DType::I16;
  const int64_t per_row = groups * spec.num_codebooks, width = dtype == DType::I8 ? 1 : 2;
  if (codes.dtype != dtype || codes.shape != shape ||
      static_cast<int64_t>(codes.bytes.size()) != tensor.out_features * per_row * width) {
    throw Error(concat(module, ".codes: expected ", dtype_name(dtype), " ", shape_string(shape),
                       ", found ", dtype_name(codes.dtype), " ", shape_string(codes.shape)));
  }
  // The file stays mapped for the other parts.
  struct Storage {
    std::shared_ptr<const void> file;
    std::vector<std::byte> codes;
  };
  const PartLayout layout = part_layout(spec, tensor.out_features, tensor.in_features).front();
  const int64_t bytes = byte_size(layout.dtype, layout.shape), row_bytes = layout.shape[1];
  const auto storage = std::make_shared<Storage>();
  storage->file = tensor.storage;
  storage->codes.resize(static_cast<size_t>(bytes));
  const unsigned mask = (1u << spec.nbits_per_codebook) - 1;
  std::vector<uint16_t> row(static_cast<size_t>(per_row));
  for (int64_t r = 0; r < tensor.out_features; ++r) {
    for (int64_t i = 0; i < per_row; ++i) {
      uint16_t value = 0;  // little-endian: the low byte is enough for int8
      std::memcpy(&value, codes.bytes.data() + (r * per_row + i) * width, width);
      row[i] = static_cast<uint16_t>(value & mask);
    }
    pack_row(row, spec.nbits_per_codebook,
             std::span(storage->codes)
                 .subspan(static_cast<size_t>(r * row_bytes), static_cast<size_t>(row_bytes)));
  }
  codes = {codes.name, layout.dtype, layout.shape, storage->codes};
  tensor.storage = storage;
}

}  // namespace

std::shared_ptr<const ModelFiles> ModelFiles::open(const std::filesystem::path& path) {
  return from(Checkpoint::open(path));
}

std::shared_ptr<const ModelFiles> ModelFiles::from(std::shared_ptr<const Checkpoint> checkpoint) {
  const auto files = std::make_shared<ModelFiles>();
  files->checkpoint_ = std::move(checkpoint);
  const Checkpoint& source = files->checkpoint();
  files->specs_ = parse_quantization_config(source.config_json(), source.config(),
                                            (source.path() / "config.json").string());
  files->hf_aqlm_ = is_hf_aqlm(source.config_json());
  for (const LinearShape& matrix : quantizable_matrices(source.config())) {
    files->matrices_[matrix.name] = matrix;
  }
  for (const auto& [name, shape] : expected_tensors(source.config())) {
    const std::string module = module_of_weight(name);
    if (!files->specs_.contains(module)) {
      check_dense_tensor(source, name, shape);
    } else if (source.find(name)) {
      throw Error(concat(source.path().string(), ": ", module,
                         " is to be quantized in config.json, but the file also has ", name));
    } else {
      verify(files->quantized(module), concat(source.path().string(), ": ", module));
    }
  }
  return files;
}

std::optional<RepresentationSpec> ModelFiles::spec(const std::string& module) const {
  const auto found = specs_.find(stored_module(config(), module));
  if (found == specs_.end()) return std::nullopt;
  return found->second;
}

QuantizedTensor ModelFiles::quantized(const std::string& module) const {
  const std::string& stored = stored_module(config(), module);
  BITSMITH_CHECK(specs_.contains(stored));
  const LinearShape& matrix = matrices_.at(stored);
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
  return model_size(config(), checkpoint_->tensors()).decoder_bits();
}

double ModelFiles::file_bits() const {
  return model_size(config(), checkpoint_->tensors()).file_bits();
}

}  // namespace bitsmith
