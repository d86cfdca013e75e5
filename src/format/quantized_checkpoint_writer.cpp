#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/safetensors.h"
#include "format/companion_files.h"
#include "format/quantization_config.h"
#include "format/quantized_checkpoint.h"

namespace bitsmith {
namespace {

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

// The tensor with rows and columns exchanged, as Hugging Face's files hold some matrices.
TensorSource transposed(const TensorSource& source) {
  const int64_t rows = source.shape.front(), columns = source.shape.back();
  const auto write = [=](const ByteSink& sink) {
    std::vector<std::byte> bytes, turned(static_cast<size_t>(source.bytes()));
    source.write([&](std::span<const std::byte> piece) {
      bytes.insert(bytes.end(), piece.begin(), piece.end());
    });
    const auto value = static_cast<int64_t>(block_layout(source.dtype).bytes);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c)
        std::copy_n(&bytes[static_cast<size_t>((r * columns + c) * value)], value,
                    &turned[static_cast<size_t>((c * rows + r) * value)]);
    sink(turned);
  };
  return {source.name, source.dtype, {columns, rows}, write};
}

std::vector<TensorSource> as_hugging_face_stores(std::vector<TensorSource> tensors,
                                                 const ModelPlan& plan) {
  std::set<std::string> names;
  for (const PlannedTensor& planned : planned_tensors(plan))
    if (planned.stored == StoredAs::kTransposed) names.insert(planned.name);
  for (TensorSource& tensor : tensors)
    if (names.contains(tensor.name)) tensor = transposed(tensor);
  return tensors;
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

  write_sharded_safetensors(folder, as_hugging_face_stores(tensors, base.plan()));
  for (const auto& [name, text] : companion_files(base)) write_file_atomic(folder / name, text);
  write_json_file(folder / "bitsmith.json", content.recipe);
  write_file_atomic(folder / "README.md", content.model_card);
  write_json_file(folder / "config.json", config);
  ModelFiles::open(folder);  // what was written is what readers expect
}

}  // namespace bitsmith
