#include "kernels/aligned_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace bitsmith {
namespace {

TEST(AlignedBuffer, IsZeroedAlignedAndItsOwn) {
  std::vector<AlignedBuffer<uint8_t>> buffers;
  for (int round = 0; round < 3; ++round) {
    for (const int64_t bytes : {1, 63, 65535, 65536, 65537, 3 << 20, 5 << 20}) {
      buffers.emplace_back(bytes);
      AlignedBuffer<uint8_t>& buffer = buffers.back();
      EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u);
      EXPECT_EQ(std::count(buffer.data(), buffer.data() + bytes, 0), bytes);
      std::fill_n(buffer.data(), bytes, static_cast<uint8_t>(buffers.size()));
    }
    buffers.erase(buffers.begin() + round);  // its block is still cut by others
  }
  for (const auto& buffer : buffers) {
    EXPECT_EQ(std::count(buffer.data(), buffer.data() + buffer.size(), buffer[0]), buffer.size());
  }
}

TEST(AlignedBuffer, EmptyIsNull) {
  EXPECT_EQ(AlignedBuffer<float>(0).data(), nullptr);
  EXPECT_EQ(AlignedBuffer<float>().bytes(), 0u);
}

}  // namespace
}  // namespace bitsmith
