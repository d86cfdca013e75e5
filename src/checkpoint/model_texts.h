// The small files of a model (config.json, tokenizer.json, ...): beside its weights in a folder, or
// inside of its packed file.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "base/json.h"
#include "checkpoint/packed_file.h"

namespace bitsmith {

class ModelTexts {
 public:
  // A folder.
  explicit ModelTexts(std::filesystem::path folder) : folder_(std::move(folder)) {}
  explicit ModelTexts(std::shared_ptr<const PackedFile> packed) : packed_(std::move(packed)) {}

  bool has(const std::string& name) const;
  // Throws Error where there is no such file.
  std::string read(const std::string& name) const;
  Json read_json(const std::string& name) const;
  // The file's name in a message; an empty name: the model's.
  std::string described(const std::string& name) const;

 private:
  std::filesystem::path folder_;
  std::shared_ptr<const PackedFile> packed_;  // null: a folder
};

}  // namespace bitsmith
