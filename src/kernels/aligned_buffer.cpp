#include "kernels/aligned_buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

namespace bitsmith {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kLargePage = size_t{2} << 20;
constexpr size_t kBlock = 4 * kLargePage;
constexpr size_t kSmall = size_t{64} << 10;  // below this the ordinary heap serves

size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

std::shared_ptr<char> allocate(size_t bytes, size_t alignment) {
  const size_t rounded = round_up(bytes, alignment);
  if (rounded < bytes) throw std::bad_alloc();
  std::shared_ptr<char> memory(static_cast<char*>(std::aligned_alloc(alignment, rounded)),
                               std::free);
  if (!memory) throw std::bad_alloc();
  if (alignment == kLargePage) madvise(memory.get(), rounded, MADV_HUGEPAGE);
  std::memset(memory.get(), 0, rounded);
  return memory;
}

}  // namespace

std::shared_ptr<void> allocate_aligned(size_t bytes) {
  if (bytes == 0) return nullptr;
  if (bytes < kSmall) return allocate(bytes, kAlignment);
  if (bytes > kBlock / 2) return allocate(bytes, kLargePage);
  static std::mutex mutex;
  static std::weak_ptr<char> current;  // the block that is being cut
  static size_t used = 0;
  const std::lock_guard lock(mutex);
  std::shared_ptr<char> block = current.lock();
  if (!block || used + bytes > kBlock) {
    block = allocate(kBlock, kLargePage);
    current = block;
    used = 0;
  }
  char* const data = block.get() + used;
  used += round_up(bytes, kAlignment);
  return std::shared_ptr<void>(block, data);
}

}  // namespace bitsmith
