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

// Qwen2's q, k and v have biases.
TEST(TunedBlocks, TrainTheVectorsThatAreAskedFor) {
  const auto files = ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_qwen2");
  for (const bool norms : {false, true}) {
    for (const bool biases : {false, true}) {
      const auto decoder = Decoder::load(files, torch::kFloat32);
      TunedBlocks blocks;
      Block& block = *decoder->blocks().front();
      blocks.add(block, *decoder, {.norms = norms, .biases = biases});
      size_t wanted = 0;
      for (const auto& [name, live] : block.dense_vectors()) {
        const bool trained = name.ends_with(".bias") ? biases : norms;
        EXPECT_EQ(live->requires_grad(), trained) << name;
        wanted += trained ? 1 : 0;
      }
      EXPECT_EQ(blocks.norms().size(), wanted);
      EXPECT_EQ(blocks.norms().empty(), !norms && !biases);
    }
  }
}

}  // namespace
}  // namespace bitsmith
