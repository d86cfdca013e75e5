// OUT.partial, the work in progress of one command. recipe.json says whose work it is;
// finished.json is OUT's bitsmith.json to be, and while it is there, only the last rename may be
// missing.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/json.h"

namespace bitsmith {

class WorkFolder {
 public:
  WorkFolder(const std::filesystem::path& out, OrderedJson recipe);

  const std::filesystem::path& path() const { return path_; }
  std::string hash() const;  // of the recipe
  std::filesystem::path parts_file(const std::string& name) const;
  std::filesystem::path finished_file() const;
  uint64_t bytes() const;  // of the files in it

  // UsageError where something else is there, which names the first difference.
  void check() const;
  void begin() const;
  // A run of this command was killed between the last rename and remove(): all is done.
  bool is_published(const std::filesystem::path& out) const;
  // finished.json goes last: while it is there, a killed run knows that OUT is its own.
  void remove() const;

 private:
  std::filesystem::path path_;
  OrderedJson recipe_;
};

}  // namespace bitsmith
