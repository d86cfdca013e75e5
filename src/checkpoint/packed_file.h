// A packed model: one safetensors file with all that the runtime needs of a model. Its tensors are
// the arrays of the kernels, each of whole 64-byte units, and then the model's small files, as
// bytes "text/NAME". docs/packed.md describes it.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "checkpoint/tensor_source.h"
#include "checkpoint/tensor_view.h"

namespace bitsmith {

class PackedFile {
 public:
  static constexpr int64_t kVersion = 1;     // of this description
  static constexpr int64_t kAlignment = 64;  // bytes

  // Whether it is a file that begins as packed models do; reads nothing else.
  static bool recognizes(const std::filesystem::path& path);
  // Maps the file; reads the header alone. Throws Error, naming the file, for another format or
  // version, and for sizes and places that do not fit.
  static std::shared_ptr<const PackedFile> open(const std::filesystem::path& path);
  // The same for bytes in memory (fuzzing), on a 64-byte boundary, which outlive the result.
  static std::shared_ptr<const PackedFile> parse(std::span<const std::byte> bytes,
                                                 const std::string& source);

  const std::string& source() const { return source_; }                    // the path, for messages
  const std::shared_ptr<const MappedFile>& file() const { return file_; }  // null: in memory
  std::span<const std::byte> bytes() const { return bytes_; }              // of the whole file
  // What the writer was given, as the file says it.
  const Json& about() const { return about_; }
  const std::vector<TensorView>& arrays() const { return arrays_; }
  const TensorView* find_array(const std::string& name) const;  // null if absent
  // The content of a small file; null if absent.
  const std::string_view* find_text(const std::string& name) const;

 private:
  PackedFile(std::span<const std::byte> bytes, std::string source,
             std::shared_ptr<const MappedFile> file);

  std::string source_;
  std::shared_ptr<const MappedFile> file_;
  std::span<const std::byte> bytes_;
  Json about_;
  std::vector<TensorView> arrays_;
  std::unordered_map<std::string, size_t> index_;  // name -> place in arrays_
  std::map<std::string, std::string_view> texts_;
};

// Writes atomically; the same input gives the same bytes. `arrays` are of whole kAlignment units.
void write_packed_file(const std::filesystem::path& path, const OrderedJson& about,
                       const std::vector<TensorSource>& arrays,
                       const std::map<std::string, std::string>& texts);

}  // namespace bitsmith
