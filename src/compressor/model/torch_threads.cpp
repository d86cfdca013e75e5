#include "compressor/model/torch_threads.h"

#include <ATen/Parallel.h>
#include <c10/core/CPUAllocator.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace bitsmith {
namespace {

// LibTorch asks for aligned memory. glibc then looks for a piece that is larger by the alignment
// and cuts it: what a tensor leaves between two others is too small for the next one of its size.
// Here requests of the same size are pieces of the same size.
class ReusingAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* memory = bytes > 0 ? aligned(bytes) : nullptr;
    return {memory, memory, &give_back, at::kCPU};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  // The piece's own address is before the memory.
  static void* aligned(size_t bytes) {
    constexpr size_t kAlignment = 64;  // as LibTorch's own; malloc's has room for an address
    void* piece = std::malloc(bytes + kAlignment);
    TORCH_CHECK(piece != nullptr,
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate ", bytes,
                " bytes");
    const size_t skipped = kAlignment - reinterpret_cast<uintptr_t>(piece) % kAlignment;
    void* memory = static_cast<std::byte*>(piece) + skipped;
    static_cast<void**>(memory)[-1] = piece;
    return memory;
  }
  static void give_back(void* memory) {
    if (memory != nullptr) std::free(static_cast<void**>(memory)[-1]);
  }
};

}  // namespace

void set_torch_threads(int threads) { at::set_num_threads(threads); }

void return_freed_memory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

void keep_freed_memory() {
  static auto& allocator = *new ReusingAllocator;  // LibTorch frees by it until the process ends
  c10::SetCPUAllocator(&allocator);
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace bitsmith
