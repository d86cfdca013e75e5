// Any bytes as a .jsonl or .txt file: documents, or an Error.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "evaluate/evaluate.h"

namespace {

namespace fs = std::filesystem;

// A file in memory under a name that ends as `name` does.
class NamedMemory {
 public:
  NamedMemory(const char* name, const uint8_t* data, size_t size)
      : file_(memfd_create(name, 0)),
        path_(fs::temp_directory_path() / bitsmith::concat("bitsmith_fuzz_", getpid(), "_", name)) {
    if (file_ < 0 || write(file_, data, size) != static_cast<ssize_t>(size)) std::abort();
    fs::remove(path_);
    fs::create_symlink(bitsmith::concat("/proc/self/fd/", file_), path_);
  }
  ~NamedMemory() {
    fs::remove(path_);
    close(file_);
  }
  std::string path() const { return path_.string(); }

 private:
  int file_;
  fs::path path_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (const char* name : {"a.jsonl", "a.txt"}) {
    const NamedMemory file(name, data, size);
    try {
      bitsmith::read_documents(file.path());
      bitsmith::read_text(file.path());
    } catch (const bitsmith::Error&) {
    }
  }
  return 0;
}
