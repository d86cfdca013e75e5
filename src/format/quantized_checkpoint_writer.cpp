#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "base/half.h"
#include "checkpoint/safetensors.h"
#include "format/gguf_tokenizer_export.h"
#include "format/quantization_config.h"
#include "format/quantized_checkpoint.h"

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

bool is_part(const std::string& tensor, const SpecMap& specs) {
  const size_t dot = tensor.rfind('.');
  if (dot == std::string::npos || !specs.contains(tensor.substr(0, dot))) return false;
  const std::string name = tensor.substr(dot + 1);
  return name == "codes" || name == "codebooks" || name == "scales" || name == "zeros";
}

// A list of tensors in which some have been converted, with the bytes of those.
struct Converted {
  std::vector<TensorView> tensors;
  std::vector<std::vector<uint16_t>> storage;
};

// F32 or BF16 values as F16, block by block; nothing where one is beyond its range.
std::optional<std::vector<uint16_t>> to_fp16(const TensorView& tensor) {
  constexpr size_t kBlock = 1 << 16;
  const auto value_bytes = static_cast<size_t>(block_layout(tensor.dtype).bytes);
  std::vector<uint16_t> halves(static_cast<size_t>(element_count(tensor.shape)));
  std::vector<float> values(kBlock);
  for (size_t first = 0; first < halves.size(); first += kBlock) {
    const size_t count = std::min(kBlock, halves.size() - first);
    decode_to_float(tensor.dtype, tensor.bytes.subspan(first * value_bytes, count * value_bytes),
                    std::span(values).first(count));
    for (size_t i = 0; i < count; ++i) {
      halves[first + i] = float_to_fp16(values[i]);
      if (std::isfinite(values[i]) && !std::isfinite(fp16_to_float(halves[first + i]))) {
        return std::nullopt;
      }
    }
  }
  return halves;
}

// Dense tensors as F16; nothing where a value is beyond its range.
std::optional<Converted> with_dense_fp16(const QuantizedCheckpointContent& content) {
  Converted result;
  for (const TensorView& tensor : content.tensors) {
    result.tensors.push_back(tensor);
    if (tensor.dtype == DType::F16 || is_part(tensor.name, content.specs)) continue;
    auto halves = to_fp16(tensor);
    if (!halves) return std::nullopt;
    result.storage.push_back(std::move(*halves));
    result.tensors.back().dtype = DType::F16;
    result.tensors.back().bytes = std::as_bytes(std::span(result.storage.back()));
  }
  return result;
}

const char* torch_dtype(DType dtype) {
  return dtype == DType::F16 ? "float16" : dtype == DType::BF16 ? "bfloat16" : "float32";
}

}  // namespace

void write_quantized_checkpoint(const std::filesystem::path& folder, const Checkpoint& base,
                                const QuantizedCheckpointContent& content) {
  std::optional<Converted> converted;
  if (fits_hf_aqlm(content.specs)) converted = with_dense_fp16(content);
  const std::vector<TensorView>& tensors = converted ? converted->tensors : content.tensors;

  OrderedJson config = base.config_json();
  config.erase("quantization_config");
  std::vector<std::string> dense;
  for (const TensorView& tensor : tensors) {
    if (is_part(tensor.name, content.specs)) continue;
    dense.push_back(tensor.name);
    if (dense.size() == 1) config["torch_dtype"] = torch_dtype(tensor.dtype);
  }
  if (config.contains("dtype")) config["dtype"] = config["torch_dtype"];  // transformers 5's name
  if (!content.specs.empty()) {
    config["quantization_config"] = converted
                                        ? make_hf_aqlm_config(content.specs, base.config(), dense)
                                        : make_bitsmith_config(content.specs);
  }

  write_sharded_safetensors(folder, tensors);
  if (base.is_gguf()) {
    export_gguf_tokenizer(base.path(), base.config(), folder);
  } else {
    copy_companions(base.path(), folder);
  }
  write_json_file(folder / "bitsmith.json", content.recipe);
  write_file_atomic(folder / "README.md", content.model_card);
  write_json_file(folder / "config.json", config);
  ModelFiles::open(folder);  // what was written is what readers expect
}

}  // namespace bitsmith
