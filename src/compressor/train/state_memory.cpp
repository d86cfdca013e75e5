#include "compressor/train/state_memory.h"

#include <c10/util/accumulate.h>

#include "base/scratch_memory.h"

namespace bitsmith {

StateMemory& StateMemory::plain() {
  static StateMemory memory;  // holds nothing
  return memory;
}

torch::Tensor StateFiles::zeros(at::IntArrayRef shape, torch::Dtype dtype) {
  const auto bytes = static_cast<size_t>(c10::multiply_integers(shape)) * c10::elementSize(dtype);
  if (bytes == 0) return torch::zeros(shape, dtype);
  const auto memory = ScratchMemory::allocate(folder_, bytes);
  return torch::from_blob(
      memory->data(), shape, [memory](void*) {}, dtype);
}

}  // namespace bitsmith
