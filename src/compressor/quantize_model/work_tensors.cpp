#include "compressor/quantize_model/work_tensors.h"

#include <set>

#include "base/error.h"
#include "base/files.h"

namespace bitsmith {
namespace {

// Of names, shapes and bytes, in whatever order a file has the tensors.
std::string content_hash(const std::vector<TensorView>& tensors) {
  std::set<std::string> lines;
  for (const TensorView& tensor : tensors)
    lines.insert(concat(tensor.name, " ", shape_string(tensor.shape), " ", sha256(tensor.bytes)));
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return sha256(text);
}

}  // namespace

std::string numbered_name(const std::string& stem, int64_t number) {
  std::string digits = std::to_string(number);
  digits.insert(0, digits.size() < 5 ? 5 - digits.size() : 0, '0');
  return stem + "-" + digits;
}

void write_work_tensors(const std::filesystem::path& path, const std::vector<TensorView>& tensors,
                        std::map<std::string, std::string> metadata,
                        const std::string& request_hash) {
  metadata["work_hash"] = request_hash;
  metadata["content_hash"] = content_hash(tensors);
  write_safetensors(path, tensors, metadata);
}

const std::string& work_value(const SafetensorsFile& file, const char* key,
                              const std::filesystem::path& path) {
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end()) throw Error(concat(path.string(), ": '", key, "' is missing"));
  return found->second;
}

SafetensorsFile open_work_tensors(const std::filesystem::path& path,
                                  const std::string& request_hash) {
  SafetensorsFile file = open_safetensors(path);
  if (work_value(file, "work_hash", path) != request_hash)
    throw Error(concat(path.string(), " belongs to other work; delete ",
                       path.parent_path().string(), " to start anew"));
  if (work_value(file, "content_hash", path) != content_hash(file.tensors))
    throw Error(concat(path.string(),
                       " is damaged: its tensors do not match their checksum; delete it "
                       "to have it made again"));
  return file;
}

}  // namespace bitsmith
