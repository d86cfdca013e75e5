// A model as it lies on disk, by memory map, tensor by tensor: a Hugging Face directory (one
// safetensors file or a sharded index) or a GGUF file. Whatever the file, tensors have Hugging
// Face's names, and values are read in the layout of the plan: GGUF names are translated, permuted
// rows put back, transposed matrices turned.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "architecture/model_plan.h"
#include "base/files.h"
#include "base/json.h"
#include "checkpoint/tensor_view.h"

namespace bitsmith {

struct GgufFile;

class Checkpoint {
 public:
  // Opens and checks every header, size and offset; reads no weights. Throws Error naming file and
  // tensor.
  static std::shared_ptr<const Checkpoint> open(const std::filesystem::path& path);
  virtual ~Checkpoint() = default;

  const std::filesystem::path& path() const { return path_; }
  bool is_gguf() const { return is_gguf_; }
  // The file with its keys, vocabulary included; nullptr for a Hugging Face directory.
  virtual const GgufFile* gguf() const { return nullptr; }
  const ModelPlan& plan() const { return plan_; }
  // config.json as it is; for GGUF an equivalent one made from its keys (what a Hugging Face
  // directory of the same model would hold), so that writers need not care.
  const Json& config_json() const { return config_json_; }

  // All tensors, in file order, under Hugging Face names, with the shapes of the plan. `bytes` is
  // as stored_as() says: read values through read_rows().
  const std::vector<TensorView>& tensors() const { return tensors_; }
  // A tied embedding has the embedding's name here, even where the file calls it the head.
  const TensorView* find(const std::string& name) const;  // nullptr if absent
  const TensorView& at(const std::string& name) const;    // Error if absent, with near names

  // How the file stores the tensor; kPlain for one that the plan does not have.
  StoredAs stored_as(const std::string& name) const;

  // Rows [first, first + count) of a matrix (or the elements of a vector: one row) as float, in
  // the plan's order. out: [count, columns]. Thread-safe.
  void read_rows(const std::string& name, int64_t first, int64_t count, std::span<float> out) const;
  std::vector<float> read(const std::string& name) const;  // the whole tensor, row-major

  // A tensor that was read once and is not needed for now: its pages leave this process's memory.
  void release(const std::string& name) const;

  // Names of the tensors that a model of this configuration does not use, in file order.
  std::vector<std::string> ignored_tensors() const;

  // The file that holds a tensor of this checkpoint, for messages.
  const std::filesystem::path& file_of(const TensorView& tensor) const;
  // Bytes on disk of all weight files.
  uint64_t file_bytes() const { return file_bytes_; }
  // SHA-256 over names, shapes, dtypes and contents, independent of sharding; reads the whole file.
  std::string content_hash() const;

 protected:
  std::filesystem::path path_;
  bool is_gguf_ = false;
  ModelPlan plan_;
  Json config_json_;
  std::vector<TensorView> tensors_;
  std::vector<std::shared_ptr<const MappedFile>> files_;  // keep the views alive
  uint64_t file_bytes_ = 0;
  std::unordered_map<std::string, StoredAs> stored_as_;  // of those that are not plain
  // Of one type and shape, byte for byte. Reads both a piece at a time, up to the first difference,
  // and gives their pages back.
  bool same_contents(const TensorView& a, const TensorView& b) const;
  // To be called when tensors_ is filled: Error on a name that occurs twice, or on a tensor whose
  // size its layout cannot have.
  void build_index();

 private:
  int64_t stored_row(StoredAs layout, int64_t rows, int64_t row) const;
  void read_transposed(const TensorView& tensor, int64_t first, int64_t count,
                       std::span<float> out) const;

  std::unordered_map<std::string, size_t> index_;  // name -> place in tensors_
};

// "ignored 4 tensors that this model does not use: a, b, c, ..."; empty when there are none.
std::string ignored_tensors_line(const Checkpoint& checkpoint);

// The tensor is there with this shape and a floating-point or GGUF type. Throws Error naming file,
// tensor, expected and found.
void check_dense_tensor(const Checkpoint& checkpoint, const std::string& name,
                        const std::vector<int64_t>& shape);
// The model is dense and complete: every expected tensor passes check_dense_tensor.
void check_dense(const Checkpoint& checkpoint);

}  // namespace bitsmith
