// Where the state of the optimizer lies: in memory, or in files.
#pragma once
#include <filesystem>

#include "compressor/torch.h"

namespace bitsmith {

// Not thread-safe. Its tensors may outlive it.
class StateMemory {
 public:
  // Torch's own memory.
  static StateMemory& plain();

  virtual ~StateMemory() = default;
  virtual torch::Tensor zeros(at::IntArrayRef shape, torch::Dtype dtype) {
    return torch::zeros(shape, dtype);
  }
};

// Each tensor in a nameless file in `folder` (base/scratch_memory.h): the system takes its memory
// back where that gets short. Throws Error where the disk is full.
class StateFiles : public StateMemory {
 public:
  explicit StateFiles(std::filesystem::path folder) : folder_(std::move(folder)) {}
  torch::Tensor zeros(at::IntArrayRef shape, torch::Dtype dtype) override;

 private:
  std::filesystem::path folder_;
};

}  // namespace bitsmith
