// A tensor's values as bytes: what files and messages are made of.
#pragma once
#include <cstddef>
#include <span>

#include "compressor/torch.h"

namespace bitsmith {

// Of a contiguous tensor, which outlives them; writable whether autograd knows of it or not.
inline std::span<std::byte> tensor_bytes(const torch::Tensor& tensor) {
  TORCH_CHECK(tensor.is_contiguous(), "bytes of a tensor with gaps");
  return {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()};
}

}  // namespace bitsmith
