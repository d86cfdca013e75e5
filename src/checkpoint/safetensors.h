// The safetensors file format: 8 bytes little-endian header length, a JSON header, then the
// tensors' bytes.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/files.h"
#include "checkpoint/tensor_source.h"
#include "checkpoint/tensor_view.h"

namespace bitsmith {

struct SafetensorsFile {
  std::shared_ptr<const MappedFile> file;  // keeps the views alive
  std::vector<TensorView> tensors;         // in order of offset
  std::map<std::string, std::string> metadata;
  std::unordered_map<std::string, size_t> places;         // name -> place in `tensors`
  const TensorView* find(const std::string& name) const;  // nullptr if absent
};

// Checks header size, dtypes, shapes, offsets (inside the file, no overlap, no hole) before use.
SafetensorsFile open_safetensors(const std::filesystem::path& path);
// The same for bytes in memory (fuzzing); `source` names them in errors. Views point into `bytes`.
std::vector<TensorView> parse_safetensors(std::span<const std::byte> bytes,
                                          const std::string& source,
                                          std::map<std::string, std::string>* metadata = nullptr);

// Writes atomically; tensors keep the given order where that leaves them aligned; deterministic
// bytes.
void write_safetensors(const std::filesystem::path& path, const std::vector<TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata = {});
// The same; every tensor is made when its turn comes.
void write_safetensors_from(const std::filesystem::path& path,
                            const std::vector<TensorSource>& tensors,
                            const std::map<std::string, std::string>& metadata);
inline constexpr uint64_t kMaxShardBytes = 5'000'000'000;
// model.safetensors, or model-0000i-of-0000n.safetensors with model.safetensors.index.json when the
// tensors exceed max_shard_bytes. Every tensor is made when its turn comes. Returns the file names
// written.
std::vector<std::string> write_sharded_safetensors(const std::filesystem::path& folder,
                                                   const std::vector<TensorSource>& tensors,
                                                   uint64_t max_shard_bytes = kMaxShardBytes);
// The bytes of these files, without the index. Makes no tensor.
uint64_t sharded_safetensors_bytes(const std::vector<TensorSource>& tensors,
                                   uint64_t max_shard_bytes = kMaxShardBytes);

}  // namespace bitsmith
