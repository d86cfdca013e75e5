// The GGUF file format, versions 2 and 3 (little-endian): keys, tensor directory, aligned tensor
// data.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "checkpoint/tensor_view.h"

namespace bitsmith {

struct GgufFile {
  std::shared_ptr<const MappedFile> file;  // keeps the views alive; null when parsed from memory
  Json keys;  // key -> value; arrays as JSON arrays. Strings keep their raw bytes
  std::vector<TensorView> tensors;  // GGUF names; shape turned to row-major [out, in]
};

GgufFile open_gguf(const std::filesystem::path& path);
// For fuzzing and for open_gguf: every count, length and offset is checked before use.
GgufFile parse_gguf(std::span<const std::byte> bytes, const std::string& source);

}  // namespace bitsmith
