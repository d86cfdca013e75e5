#include "compressor/quantize_model/experts_in_turn.h"

#include <gtest/gtest.h>

#include "architecture/site_weights.h"

namespace bitsmith {
namespace {

bool is_there(const Linear& linear) { return linear.weight.defined(); }

void expect_same(const Linear& a, const Linear& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_TRUE(torch::equal(a.weight, b.weight)) << a.name;
}

TEST(ExpertsInTurn, HoldsTheExpertOfTheSite) {
  const auto decoder = Decoder::open(
      ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "families/tiny_mixtral"),
      torch::kFloat32);
  const auto all = decoder->load_block(1);
  ExpertsInTurn experts(*decoder, 1, /*with_original=*/true);
  ASSERT_FALSE(experts.whole());
  Block &block = *experts.block(), &original = *experts.original();
  const std::vector<Linear*> linears = block.linears();
  for (const Site& site : block.sites) {
    experts.enter(site);
    const std::vector<Linear*> own = site_weights(block, site),
                               of_original = site_weights(original, site),
                               expected = site_weights(*all, site);
    for (size_t i = 0; i < own.size(); ++i) {
      expect_same(*own[i], *expected[i]);
      own[i]->weight = torch::zeros_like(own[i]->weight);  // what it becomes when quantized
      expect_same(*of_original[i], *expected[i]);
    }
    if (site.expert < 0) continue;
    for (size_t expert = 0; expert < block.mlps.size(); ++expert) {
      EXPECT_EQ(is_there(block.mlps[expert].output), static_cast<int64_t>(expert) == site.expert);
      EXPECT_EQ(is_there(original.mlps[expert].output),
                static_cast<int64_t>(expert) == site.expert);
    }
  }
  EXPECT_EQ(block.linears(), linears);  // stay where they were
}

TEST(ExpertsInTurn, ABlockWithoutExpertsIsWhole) {
  const auto decoder = Decoder::open(
      ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama"), torch::kFloat32);
  ExpertsInTurn experts(*decoder, 0, /*with_original=*/false);
  EXPECT_TRUE(experts.whole());
  EXPECT_EQ(experts.block(), experts.original());
  for (const Linear* linear : experts.block()->linears()) EXPECT_TRUE(is_there(*linear));
}

}  // namespace
}  // namespace bitsmith
