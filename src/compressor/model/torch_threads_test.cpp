#include "compressor/model/torch_threads.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "compressor/torch.h"

namespace bitsmith {
namespace {

TEST(KeepFreedMemory, TensorsAreAlignedAndOutliveTheSwitch) {
  const auto before = torch::arange(1000);
  keep_freed_memory();
  for (const int64_t bytes : {0, 1, 63, 64, 4096, 1 << 20}) {
    const auto tensor = torch::full({bytes}, 7, torch::kUInt8);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 64, 0u) << bytes;
    EXPECT_EQ(tensor.sum().item<int64_t>(), 7 * bytes);
  }
  EXPECT_EQ(before.sum().item<int64_t>(), 499500);
  // Matrix products take scratch memory of their own.
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
    const auto ones = torch::ones({64, 64}, dtype);
    EXPECT_EQ(torch::linear(ones, ones).to(torch::kFloat32).sum().item<float>(), 64 * 64 * 64);
  }
}

#if defined(__GLIBC__)
TEST(KeepFreedMemory, WhatATensorLeavesHasRoomForTheNextOfItsSize) {
  keep_freed_memory();
  constexpr int64_t kBytes = 3 << 20;
  std::vector<torch::Tensor> tensors;
  for (int i = 0; i < 9; ++i) tensors.push_back(torch::zeros({kBytes}, torch::kUInt8));
  const void* left = tensors[4].data_ptr();
  tensors[4].reset();
  const auto next = torch::zeros({kBytes}, torch::kUInt8);
  EXPECT_EQ(next.data_ptr(), left);
}
#endif

}  // namespace
}  // namespace bitsmith
