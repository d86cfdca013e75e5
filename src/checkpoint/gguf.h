// The GGUF file format, versions 2 and 3 (little-endian): keys, tensor directory, aligned tensor
// data.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "checkpoint/tensor_view.h"

namespace bitsmith {

// An array among the keys: a view of the file, which is read again at each use, so that an array of
// any length costs no memory.
class GgufArray {
 public:
  GgufArray() = default;
  // `bytes`: `size` elements of `type`, a value type of the format, checked to be whole.
  GgufArray(uint32_t type, uint64_t size, std::span<const std::byte> bytes)
      : type_(type), size_(size), bytes_(bytes) {}

  uint64_t size() const { return size_; }
  std::string description() const;  // "3 x int32"
  // Each element in order. Throws Error "WHAT is not all strings / integers / numbers / bools" for
  // elements of another type. An integer beyond int64_t comes as a negative one.
  void each_string(const std::string& what, const std::function<void(std::string_view)>& use) const;
  void each_integer(const std::string& what, const std::function<void(int64_t)>& use) const;
  void each_number(const std::string& what, const std::function<void(double)>& use) const;
  void each_flag(const std::string& what, const std::function<void(bool)>& use) const;

 private:
  uint32_t type_ = 0;
  uint64_t size_ = 0;
  std::span<const std::byte> bytes_;
};

struct GgufFile {
  std::shared_ptr<const MappedFile> file;  // keeps the views alive; null when parsed from memory
  // key -> number, bool or string with its raw bytes. For a key of `arrays` an object that
  // describes it: who expects a single value gets an Error, not a default.
  Json keys;
  std::map<std::string, GgufArray> arrays;
  std::vector<TensorView> tensors;  // GGUF names; shape turned to row-major [out, in]
};

GgufFile open_gguf(const std::filesystem::path& path);
// For fuzzing and for open_gguf: every count, length and offset is checked before use.
GgufFile parse_gguf(std::span<const std::byte> bytes, const std::string& source);

}  // namespace bitsmith
