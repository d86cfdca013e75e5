// Writable memory that lies in a file: for state that is read and written once in a while, and is
// too large for the machine's memory.
#pragma once
#include <cstddef>
#include <filesystem>
#include <memory>

#include "base/mapping_faults.h"

namespace bitsmith {

// Its pages are the system's to write back whenever it needs the memory. The file has no name: it
// ends with the last pointer to the object, or with the process, however that ends. Nothing in it
// outlives a run.
class ScratchMemory {
 public:
  // `size` > 0 bytes of zeros in a file in `folder`, on the disk from the start: a disk that is too
  // full is an Error that names the folder, here and not later.
  static std::shared_ptr<ScratchMemory> allocate(const std::filesystem::path& folder, size_t size);
  ~ScratchMemory();
  ScratchMemory(const ScratchMemory&) = delete;
  ScratchMemory& operator=(const ScratchMemory&) = delete;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  ScratchMemory() = default;
  std::filesystem::path folder_;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  MappingRegistration registration_;
};

}  // namespace bitsmith
