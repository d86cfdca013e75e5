#include "compressor/train/tuned_blocks.h"

#include <gtest/gtest.h>

#include "compressor/model/dense_tensor.h"
#include "compressor/train/test_matrices.h"

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

// One and 1/512 is one again in bfloat16.
TEST(TunedBlocks, GradientsOfMicroBatchesAddUpInFloat32) {
  TunedBlocks blocks;
  const auto live = torch::ones({4}, torch::kBFloat16).requires_grad_(true);
  blocks.norms().push_back({"norm", torch::ones({4}), live, {}, 1.0});
  EXPECT_FALSE(blocks.norms().front().gradient.defined());
  for (const double value : {1.0, 1.0 / 512, 1.0 / 512}) {
    blocks.norms().front().live.mutable_grad() = torch::full({4}, value, torch::kBFloat16);
    blocks.collect_gradients();
    EXPECT_FALSE(live.grad().defined());
  }
  EXPECT_TRUE(torch::equal(blocks.norms().front().gradient, torch::full({4}, 1 + 2.0 / 512)));
  EXPECT_NEAR(blocks.gradient_norm(), 2 * (1 + 2.0 / 512), 1e-6);
  blocks.clear_gradients();
  EXPECT_EQ(blocks.gradient_norm(), 0);
}

// A pass leaves no gradient of a dense copy; the sums are exact in float32, whatever its dtype.
TEST(TunedBlocks, GradientsOfDenseCopiesAreTakenWhileAPassRuns) {
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
    Linear linear;
    linear.name = "matrix";
    linear.out_features = 48;
    linear.in_features = 64;
    linear.representation = random_representation("int3g16", 48, 64);
    TunedBlocks blocks;
    const TunedLinear& tuned = blocks.add(linear, dtype);
    torch::manual_seed(5);
    auto sum = torch::zeros({48, 64});
    for (int pass = 0; pass < 3; ++pass) {
      const auto x = torch::randn({7, 64}).to(dtype);
      const auto loss = [&] { return torch::linear(x, linear.weight).square().sum(); };
      sum.add_(torch::autograd::grad({loss()}, {linear.weight}).front());
      loss().backward();
      EXPECT_FALSE(linear.weight.grad().defined());
      EXPECT_TRUE(torch::equal(tuned.gradient, sum));
    }
    blocks.collect_gradients();
    EXPECT_TRUE(torch::equal(tuned.gradient, sum));
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
