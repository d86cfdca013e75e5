// A tensor as it is going to be written: what it will be, and how its bytes are made in their turn.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/tensor_view.h"

namespace bitsmith {

// Takes a tensor's bytes in order, in pieces of whole values.
using ByteSink = std::function<void(std::span<const std::byte>)>;

// A list of sources costs no memory: a file is written with one tensor at a time in it.
struct TensorSource {
  using Writer = std::function<void(const ByteSink&)>;

  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  // Gives the sink exactly byte_size(dtype, shape) bytes, the same at every call. What it refers to
  // must outlive it.
  Writer write;

  TensorSource(std::string name, DType dtype, std::vector<int64_t> shape, Writer write)
      : name(std::move(name)), dtype(dtype), shape(std::move(shape)), write(std::move(write)) {}
  TensorSource(const TensorView& view);  // bytes that are there already
  uint64_t bytes() const { return static_cast<uint64_t>(byte_size(dtype, shape)); }
};

// Whether no finite value of an F32, F16 or BF16 tensor is beyond F16's range; makes it once.
bool fits_fp16(const TensorSource& source);
// The same tensor, its values rounded to F16 as they pass.
TensorSource as_fp16(const TensorSource& source);

}  // namespace bitsmith
