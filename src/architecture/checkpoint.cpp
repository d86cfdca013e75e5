#include "architecture/checkpoint.h"

#include <algorithm>
#include <cstring>

#include "architecture/readers.h"
#include "base/edit_distance.h"
#include "base/error.h"
#include "checkpoint/packed_file.h"

namespace bitsmith {
namespace {

std::string near_names(const std::string& name, const std::vector<TensorView>& tensors) {
  std::vector<std::pair<size_t, const std::string*>> near;
  constexpr size_t kMaxName = 200;  // the distance takes time by length
  for (const TensorView& tensor : tensors) {
    if (tensor.name.size() > kMaxName) continue;
    near.push_back({edit_distance(name, tensor.name), &tensor.name});
  }
  const size_t count = std::min<size_t>(near.size(), 3);
  std::partial_sort(near.begin(), near.begin() + static_cast<ptrdiff_t>(count), near.end(),
                    [](const auto& a, const auto& b) {
                      return a.first != b.first ? a.first < b.first : *a.second < *b.second;
                    });
  std::string text;
  for (size_t i = 0; i < count; ++i) text += (i > 0 ? ", " : "") + excerpt(*near[i].second);
  return text;
}

}  // namespace

ExpectedNames::ExpectedNames(const ModelPlan& plan, bool quantized) {
  for (const PlannedTensor& tensor : planned_tensors(plan)) tensors_.insert(tensor.name);
  if (!quantized) return;
  for (const LinearPlan& matrix : quantizable_matrices(plan)) modules_.insert(matrix.name);
}

bool ExpectedNames::contains(const std::string& name) const {
  return tensors_.contains(name) || modules_.contains(name.substr(0, name.rfind('.')));
}

std::shared_ptr<const Checkpoint> Checkpoint::open(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    throw Error(concat("there is no model at ", path.string(),
                       ": expected a Hugging Face directory or a GGUF file"));
  }
  if (std::filesystem::is_directory(status)) return open_hugging_face(path);
  if (path.extension() == ".safetensors") {
    throw Error(concat(path.string(), " is only a model's weights: name the directory with its ",
                       "config.json"));
  }
  if (PackedFile::recognizes(path)) {
    throw Error(
        concat(path.string(), " is a packed model, which the runtime alone reads (run, serve,",
               " bench, eval and logits with --engine runtime); name the model that it was ",
               "packed from"));
  }
  return open_gguf_model(path);
}

void Checkpoint::build_index() {
  index_.clear();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (!index_.emplace(tensors_[i].name, i).second) {
      throw Error(
          concat(path_.string(), ": tensor '", excerpt(tensors_[i].name), "' occurs twice"));
    }
  }
  for (const auto& [name, layout] : stored_as_) {
    const TensorView* tensor = find(name);
    if (!tensor) continue;
    const int64_t rows = tensor->shape.empty() ? 1 : tensor->shape.front();
    const int64_t head_dim = plan_.blocks.front().attention.head_dim;
    const int64_t unit = layout == StoredAs::kInterleavedHeads  ? head_dim
                         : layout == StoredAs::kConcatenatedQkv ? 3 * head_dim
                                                                : 1;
    const std::string found = concat(path_.string(), ": tensor '", excerpt(name), "' is ",
                                     dtype_name(tensor->dtype), " ", shape_string(tensor->shape));
    if (layout == StoredAs::kTransposed) {  // decoded value by value
      if (tensor->shape.size() != 2 || block_layout(tensor->dtype).elements != 1)
        throw Error(found + ", expected a matrix of single values");
    } else if (rows % unit != 0 || tensor->shape.size() > 2) {
      throw Error(concat(found, ", expected rows for whole heads of ", head_dim));
    }
  }
}

bool Checkpoint::same_contents(const TensorView& a, const TensorView& b) const {
  if (a.dtype != b.dtype || a.shape != b.shape || a.bytes.size() != b.bytes.size()) return false;
  constexpr size_t kPiece = size_t{16} << 20;
  bool same = true;
  for (size_t at = 0; same && at < a.bytes.size(); at += kPiece) {
    const size_t size = std::min(kPiece, a.bytes.size() - at);
    const auto own = a.bytes.subspan(at, size), other = b.bytes.subspan(at, size);
    same = std::memcmp(own.data(), other.data(), size) == 0;
    for (const auto& file : files_) {
      file->release(own);
      file->release(other);
    }
  }
  return same;
}

const TensorView* Checkpoint::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

const TensorView& Checkpoint::at(const std::string& name) const {
  if (const TensorView* tensor = find(name)) return *tensor;
  throw Error(
      concat(path_.string(), ": no tensor '", name, "'; near names: ", near_names(name, tensors_)));
}

const std::filesystem::path& Checkpoint::file_of(const TensorView& tensor) const {
  for (const auto& file : files_) {
    const auto bytes = file->bytes();
    if (!tensor.bytes.empty() && tensor.bytes.data() >= bytes.data() &&
        tensor.bytes.data() < bytes.data() + bytes.size()) {
      return file->path();
    }
  }
  return path_;
}

StoredAs Checkpoint::stored_as(const std::string& name) const {
  const auto found = stored_as_.find(name);
  return found == stored_as_.end() ? StoredAs::kPlain : found->second;
}

// Where the file has row `row` of `rows`. kInterleavedHeads: within each head the file holds row
// 2 i + j where Hugging Face has j * half + i, j = 0, 1: ggml turns neighboring rows, Hugging Face
// rows half a head apart. kConcatenatedQkv: all q, all k, all v, where Hugging Face has q, k, v of
// one head after another.
int64_t Checkpoint::stored_row(StoredAs layout, int64_t rows, int64_t row) const {
  const int64_t head_dim = plan_.blocks.front().attention.head_dim;
  const int64_t head = row / head_dim, inside = row % head_dim;
  if (layout == StoredAs::kInterleavedHeads) {
    const int64_t half = head_dim / 2;
    return head * head_dim + 2 * (inside % half) + inside / half;
  }
  if (layout == StoredAs::kConcatenatedQkv) {
    const int64_t heads = rows / (3 * head_dim);
    return ((head % 3) * heads + head / 3) * head_dim + inside;
  }
  return row;
}

void Checkpoint::read_transposed(const TensorView& tensor, int64_t first, int64_t count,
                                 std::span<float> out) const {
  const int64_t rows = tensor.shape.front(), columns = tensor.shape.back();
  const auto value_bytes = static_cast<size_t>(block_layout(tensor.dtype).bytes);
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t c = 0; c < columns; ++c) {
    const auto at = static_cast<size_t>(c * rows + first) * value_bytes;
    decode_to_float(tensor.dtype, tensor.bytes.subspan(at, values.size() * value_bytes), values);
    for (int64_t r = 0; r < count; ++r)
      out[static_cast<size_t>(r * columns + c)] = values[static_cast<size_t>(r)];
  }
}

void Checkpoint::read_rows(const std::string& name, int64_t first, int64_t count,
                           std::span<float> out) const {
  const TensorView& tensor = at(name);
  const bool matrix = tensor.shape.size() > 1;
  const int64_t columns = tensor.shape.empty() ? 1 : tensor.shape.back();
  const int64_t rows = columns == 0 ? 0 : element_count(tensor.shape) / columns;
  BITSMITH_CHECK(first >= 0 && count >= 0 && first <= rows && count <= rows - first);
  BITSMITH_CHECK(static_cast<int64_t>(out.size()) == count * columns);
  if (count == 0) return;
  const auto row_bytes = static_cast<size_t>(byte_size(tensor.dtype, {columns}));
  const auto decode = [&](int64_t stored, int64_t rows_together, std::span<float> values) {
    decode_to_float(tensor.dtype,
                    tensor.bytes.subspan(static_cast<size_t>(stored) * row_bytes,
                                         static_cast<size_t>(rows_together) * row_bytes),
                    values);
  };
  const StoredAs layout = stored_as(name);
  switch (layout) {
    case StoredAs::kPlain:
      return decode(first, count, out);
    case StoredAs::kTransposed:
      return read_transposed(tensor, first, count, out);
    case StoredAs::kPlusOne:
      decode(first, count, out);
      for (float& value : out) value -= 1.0f;
      return;
    case StoredAs::kInterleavedHeads:
    case StoredAs::kConcatenatedQkv:
      break;
  }
  if (!matrix) {  // a bias is permuted element by element
    std::vector<float> stored(out.size());
    decode(0, 1, stored);
    for (int64_t i = 0; i < columns; ++i)
      out[static_cast<size_t>(i)] = stored[static_cast<size_t>(stored_row(layout, columns, i))];
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    decode(stored_row(layout, rows, first + i), 1,
           out.subspan(static_cast<size_t>(i * columns), static_cast<size_t>(columns)));
  }
}

std::vector<float> Checkpoint::read(const std::string& name) const {
  const TensorView& tensor = at(name);
  const int64_t columns = tensor.shape.empty() ? 1 : tensor.shape.back();
  std::vector<float> values(static_cast<size_t>(element_count(tensor.shape)));
  read_rows(name, 0, columns == 0 ? 0 : static_cast<int64_t>(values.size()) / columns, values);
  return values;
}

std::string Checkpoint::content_hash() const {
  std::vector<const TensorView*> ordered;
  for (const TensorView& tensor : tensors_) ordered.push_back(&tensor);
  std::sort(ordered.begin(), ordered.end(),
            [](const TensorView* a, const TensorView* b) { return a->name < b->name; });
  Sha256 hash;
  for (const TensorView* tensor : ordered) {
    hash.update(concat(tensor->name, '\0', dtype_name(tensor->dtype), shape_string(tensor->shape)));
    hash.update(tensor->bytes);
    release(tensor->name);
  }
  return hash.finish();
}

void Checkpoint::release(const std::string& name) const {
  for (const auto& file : files_) file->release(at(name).bytes);
}

std::vector<std::string> Checkpoint::ignored_tensors() const {
  const ExpectedNames expected(plan_, config_json_.contains("quantization_config"));
  std::vector<std::string> names;
  for (const TensorView& tensor : tensors_) {
    if (!expected.contains(tensor.name)) names.push_back(tensor.name);
  }
  return names;
}

std::string ignored_tensors_line(const Checkpoint& checkpoint) {
  constexpr size_t kNamed = 3;
  const std::vector<std::string> names = checkpoint.ignored_tensors();
  if (names.empty()) return "";
  std::string text = concat("ignored ", names.size(), names.size() == 1 ? " tensor" : " tensors",
                            " that this model does not use: ");
  for (size_t i = 0; i < std::min(names.size(), kNamed); ++i) {
    text += (i > 0 ? ", " : "") + excerpt(names[i]);
  }
  return text + (names.size() > kNamed ? ", ..." : "");
}

void check_dense_tensor(const Checkpoint& checkpoint, const std::string& name,
                        const std::vector<int64_t>& shape) {
  const TensorView& tensor = checkpoint.at(name);
  const std::string where = concat(checkpoint.file_of(tensor).string(), ": tensor '", name, "'");
  if (tensor.shape != shape) {
    throw Error(concat(where, " has the shape ", shape_string(tensor.shape), ", expected ",
                       shape_string(shape), " from the configuration"));
  }
  if (!holds_floats(tensor.dtype)) {
    throw Error(concat(where, " has the data type ", dtype_name(tensor.dtype),
                       ", expected a floating-point or GGUF type"));
  }
}

void check_dense(const Checkpoint& checkpoint) {
  for (const PlannedTensor& tensor : planned_tensors(checkpoint.plan()))
    check_dense_tensor(checkpoint, tensor.name, tensor.shape);
}

}  // namespace bitsmith
