#include "runtime/matrices/array_store.h"

#include "kernels/aligned_buffer.h"

namespace bitsmith {

std::shared_ptr<const void> NewArrays::get(const std::string& name, DType dtype, int64_t count,
                                           const Fill& fill) {
  const int64_t value_bytes = block_layout(dtype).bytes;
  const int64_t bytes = (count * value_bytes + kAlignment - 1) / kAlignment * kAlignment;
  const std::shared_ptr<void> memory = allocate_aligned(static_cast<size_t>(bytes));
  fill(memory.get());
  made_.push_back({name,
                   dtype,
                   {bytes / value_bytes},
                   {static_cast<const std::byte*>(memory.get()), static_cast<size_t>(bytes)}});
  memory_.push_back(memory);
  return memory;
}

}  // namespace bitsmith
