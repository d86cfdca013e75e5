// A mapped file that another program shortens, or whose disk fails, cannot be read on: the
// processor then stops this process by SIGBUS. With the handler the user is told which file it was.
#pragma once
#include <cstddef>

namespace bitsmith {

// For main(). A SIGBUS inside of a registered mapping writes a message that names the file to
// stderr and ends the process with exit code 1 at once, without destructors: files in progress stay
// as after a kill. Any other SIGBUS does what it does by default.
void install_mapping_fault_handler();

// Registers [data, data + size) until its end; `path` must live as long. Thread-safe.
class MappingRegistration {
 public:
  MappingRegistration() = default;
  MappingRegistration(const void* data, size_t size, const char* path);
  ~MappingRegistration();
  MappingRegistration(MappingRegistration&& other) noexcept : slot_(other.slot_) {
    other.slot_ = nullptr;
  }
  MappingRegistration& operator=(MappingRegistration&& other) noexcept;

 private:
  struct Slot;
  friend struct MappingTable;
  Slot* slot_ = nullptr;
};

}  // namespace bitsmith
