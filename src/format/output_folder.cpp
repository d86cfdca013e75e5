#include "format/output_folder.h"

#include <unistd.h>

#include "base/error.h"

namespace bitsmith {

void check_output(const std::filesystem::path& out, bool force) {
  if (out.empty()) throw UsageError("an output is needed: -o OUT");
  if (std::filesystem::exists(out) && !force) {
    throw UsageError(
        concat(out.string(), " exists: choose another output, or --force to replace it"));
  }
  const std::filesystem::path parent = std::filesystem::absolute(out).parent_path();
  std::error_code error;
  std::filesystem::create_directories(parent, error);
  if (error || ::access(parent.c_str(), W_OK) != 0) {
    throw Error(concat("cannot write in ", parent.string(), error ? ": " + error.message() : ""));
  }
}

}  // namespace bitsmith
