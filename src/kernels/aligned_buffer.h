// Memory for vectors: zeroed, on 64-byte boundaries, in large pages where the system has them.
#pragma once
#include <cstdint>
#include <memory>

namespace bitsmith {

// Buffers of a model's size are cut from shared blocks of 2 MiB pages: a matrix of a small model is
// smaller than such a page, and with 4 KiB pages the address translations cost a quarter of the
// memory bandwidth. A block goes when its last buffer goes. Throws std::bad_alloc. Thread-safe.
std::shared_ptr<void> allocate_aligned(size_t bytes);

template <typename T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(int64_t count)
      : data_(
            std::static_pointer_cast<T>(allocate_aligned(static_cast<size_t>(count) * sizeof(T)))),
        size_(count) {}
  AlignedBuffer(AlignedBuffer&&) = default;
  AlignedBuffer& operator=(AlignedBuffer&&) = default;

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  int64_t size() const { return size_; }
  uint64_t bytes() const { return static_cast<uint64_t>(size_) * sizeof(T); }
  T& operator[](int64_t i) { return data_.get()[i]; }
  const T& operator[](int64_t i) const { return data_.get()[i]; }

 private:
  std::shared_ptr<T> data_;
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
