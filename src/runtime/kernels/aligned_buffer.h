// Memory for vectors: zeroed, on 64-byte boundaries, in large pages where the system has them.
#pragma once
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace bitsmith {

template <typename T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(int64_t count) : size_(count) {
    constexpr size_t kLargePage = size_t{2} << 20;
    const size_t wanted = static_cast<size_t>(count) * sizeof(T);
    const size_t alignment = wanted >= kLargePage ? kLargePage : 64;
    const size_t bytes = (wanted + alignment - 1) / alignment * alignment;
    if (bytes == 0) return;
    void* memory = std::aligned_alloc(alignment, bytes);
    if (!memory) throw std::bad_alloc();
    if (alignment == kLargePage) madvise(memory, bytes, MADV_HUGEPAGE);
    std::memset(memory, 0, bytes);
    data_.reset(static_cast<T*>(memory));
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  int64_t size() const { return size_; }
  uint64_t bytes() const { return static_cast<uint64_t>(size_) * sizeof(T); }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T[], Free> data_;
  int64_t size_ = 0;
};

// At least `count` elements of this thread's scratch memory, kept for the next call. T and Tag
// name the buffer: two that are in use at once need two tags.
template <typename T, typename Tag>
T* thread_scratch(int64_t count) {
  thread_local AlignedBuffer<T> buffer;
  if (buffer.size() < count) buffer = AlignedBuffer<T>(count);
  return buffer.data();
}

}  // namespace bitsmith
