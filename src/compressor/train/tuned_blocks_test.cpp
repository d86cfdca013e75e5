#include "compressor/train/tuned_blocks.h"

#include <gtest/gtest.h>

#include "compressor/model/dense_tensor.h"

namespace bitsmith {
namespace {

TEST(TunedBlocks, NormsTrainFromTheFilesFloat32ValuesInABfloat16Model) {
  const auto files = ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama");
  const auto decoder = Decoder::load(files, torch::kBFloat16);
  TunedBlocks blocks;
  blocks.add(*decoder->blocks()[1], *decoder);
  ASSERT_EQ(blocks.norms().size(), 2u);
  for (const Trainable& norm : blocks.norms()) {
    const auto stored = read_dense(files->checkpoint(), norm.name, torch::kFloat32);
    EXPECT_TRUE(torch::equal(norm.value, stored)) << norm.name;
    EXPECT_FALSE(torch::equal(norm.value, norm.live.to(torch::kFloat32))) << "shows nothing";
    EXPECT_TRUE(torch::equal(norm.live, stored.to(torch::kBFloat16)));
  }
}

}  // namespace
}  // namespace bitsmith
