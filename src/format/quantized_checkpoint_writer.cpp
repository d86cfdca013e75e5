#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/safetensors.h"
#include "format/quantization_config.h"
#include "format/quantized_checkpoint.h"
#include "tokenizer/gguf_tokenizer_export.h"

namespace bitsmith {
namespace {

constexpr const char* kCopied[] = {
    "tokenizer.json",          "tokenizer.model",     "tokenizer_config.json",
    "special_tokens_map.json", "chat_template.jinja", "generation_config.json",
    "added_tokens.json",       "vocab.json",          "merges.txt"};

bool is_legal_text(const std::string& file_name) {
  std::string upper = file_name;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  constexpr const char* kNames[] = {"LICENSE", "LICENCE", "NOTICE", "COPYING", "USE_POLICY"};
  return std::any_of(std::begin(kNames), std::end(kNames),
                     [&](const char* name) { return upper.starts_with(name); });
}

void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    if (!entry.is_regular_file()) continue;
    const std::string name = entry.path().filename().string();
    const bool listed =
        std::find(std::begin(kCopied), std::end(kCopied), name) != std::end(kCopied);
    if (listed || is_legal_text(name)) write_file_atomic(to / name, read_text_file(entry.path()));
  }
}

// Whether the tensor belongs to a quantized matrix. A bias beside it is dense.
bool is_part(const std::string& tensor, const SpecMap& specs) {
  const size_t dot = tensor.rfind('.');
  return dot != std::string::npos && specs.contains(tensor.substr(0, dot)) &&
         !tensor.ends_with(".bias");
}

// The tensors with dense ones as F16; nothing where a value is beyond its range.
std::optional<std::vector<TensorSource>> with_dense_fp16(
    const QuantizedCheckpointContent& content) {
  std::vector<TensorSource> result;
  for (const TensorSource& tensor : content.tensors) {
    if (is_part(tensor.name, content.specs)) {
      result.push_back(tensor);
      continue;
    }
    if (!fits_fp16(tensor)) return std::nullopt;
    result.push_back(as_fp16(tensor));
  }
  return result;
}

const char* torch_dtype(DType dtype) {
  return dtype == DType::F16 ? "float16" : dtype == DType::BF16 ? "bfloat16" : "float32";
}

}  // namespace

void write_quantized_checkpoint(const std::filesystem::path& folder, const Checkpoint& base,
                                const QuantizedCheckpointContent& content) {
  std::optional<std::vector<TensorSource>> all_fp16;
  if (fits_hugging_face(content.specs, base.plan())) all_fp16 = with_dense_fp16(content);
  const std::vector<TensorSource>& tensors = all_fp16 ? *all_fp16 : content.tensors;

  OrderedJson config = base.config_json();
  config.erase("quantization_config");
  std::vector<std::string> dense;
  for (const TensorSource& tensor : tensors) {
    if (is_part(tensor.name, content.specs)) continue;
    dense.push_back(tensor.name);
    if (dense.size() == 1) config["torch_dtype"] = torch_dtype(tensor.dtype);
  }
  if (config.contains("dtype")) config["dtype"] = config["torch_dtype"];  // transformers 5's name
  if (!content.specs.empty()) {
    config["quantization_config"] =
        all_fp16 ? make_hugging_face_config(content.specs, base.plan(), dense)
                 : make_bitsmith_config(content.specs, base.plan());
  }

  write_sharded_safetensors(folder, tensors);
  if (base.is_gguf()) {
    export_gguf_tokenizer(base, folder);
  } else {
    copy_companions(base.path(), folder);
  }
  write_json_file(folder / "bitsmith.json", content.recipe);
  write_file_atomic(folder / "README.md", content.model_card);
  write_json_file(folder / "config.json", config);
  ModelFiles::open(folder);  // what was written is what readers expect
}

}  // namespace bitsmith
