#include "base/scratch_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/error.h"

namespace bitsmith {

std::shared_ptr<ScratchMemory> ScratchMemory::allocate(const std::filesystem::path& folder,
                                                       size_t size) {
  const auto fail = [&](const char* what, int reason) {
    throw Error(concat("cannot ", what, " ", size, " bytes in ", folder.string(), ": ",
                       std::strerror(reason)));
  };
  std::string name = (folder / "scratch.XXXXXX").string();
  const int fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) fail("keep", errno);
  ::unlink(name.c_str());
  // Returns its error. Where a file system cannot reserve, it writes.
  const int refused = ::posix_fallocate(fd, 0, static_cast<off_t>(size));
  void* data = MAP_FAILED;
  if (refused == 0) data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int reason = refused != 0 ? refused : errno;
  ::close(fd);
  if (data == MAP_FAILED) fail(refused != 0 ? "keep" : "map", reason);
  std::shared_ptr<ScratchMemory> memory(new ScratchMemory);
  memory->folder_ = folder;
  memory->data_ = static_cast<std::byte*>(data);
  memory->size_ = size;
  memory->registration_ = MappingRegistration(data, size, memory->folder_.c_str());
  return memory;
}

ScratchMemory::~ScratchMemory() {
  registration_ = {};
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace bitsmith
