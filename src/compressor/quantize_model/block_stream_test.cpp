#include "compressor/quantize_model/block_stream.h"

#include <gtest/gtest.h>

#include "compressor/objective/hessian_sum.h"
#include "format/quantized_checkpoint.h"

namespace bitsmith {
namespace {

// Site by site and a chunk at a time as in one piece, also where attention is wider than the block.
TEST(BlockStream, GivesWhatTheWholeBlockGives) {
  const torch::NoGradGuard no_grad;
  for (const char* name : {"tiny_llama", "tiny_qwen3", "families/tiny_gemma3",
                           "families/tiny_gpt_neox", "families/tiny_mixtral"}) {
    SCOPED_TRACE(name);
    torch::manual_seed(51);
    const auto decoder = Decoder::open(
        ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / name), torch::kFloat32);
    const auto block = decoder->load_block(0);
    const RotaryTables rotary = decoder->rotary(7);
    const auto x = torch::randn({5, 7, decoder->plan().hidden_size});
    std::vector<torch::Tensor> expected;
    const auto outputs = decoder->run_block(
        *block, x, rotary,
        [&](size_t, const torch::Tensor& inputs) { expected.push_back(inputs); });
    const auto second = decoder->run_block(*block, outputs, rotary);
    BlockStream stream(*decoder, rotary, x.clone());
    for (int twice = 0; twice < 2; ++twice) {
      std::vector<int64_t> expert_rows(block->sites.size(), 0);
      EXPECT_TRUE(torch::equal(stream.inputs(), x));
      for (size_t site = 0; site < block->sites.size(); ++site) {
        for (int64_t first = 0; first < 5; first += 2) {
          const int64_t count = std::min<int64_t>(2, 5 - first);
          if (first == 0 && block->sites[site].expert == 0)
            stream.route_tokens(*block, 14, [](double) {});
          const auto tokens = stream.tokens_of(*block, site, first, count, false);
          const auto found = stream.site_inputs(*block, site, first, count, tokens, true);
          auto same = expected[site];
          if (tokens.defined()) {  // of the whole batch
            same = same.narrow(0, expert_rows[site], tokens.numel());
            expert_rows[site] += tokens.numel();
          } else {
            same = same.narrow(0, first, count);
          }
          EXPECT_TRUE(torch::allclose(found, same, 1e-5, 1e-5)) << site;
        }
      }
      ASSERT_TRUE(stream.outputs().defined());
      EXPECT_TRUE(torch::allclose(stream.outputs(), outputs, 1e-5, 1e-5));
    }
    const auto kept = stream.outputs().clone();
    stream.make_outputs(*block, /*tokens=*/14, [](double) {});
    EXPECT_TRUE(torch::allclose(stream.outputs(), kept, 1e-5, 1e-5));
    EXPECT_TRUE(torch::equal(stream.inputs(), x));
    stream.take_outputs();
    EXPECT_FALSE(stream.outputs().defined());
    EXPECT_TRUE(torch::allclose(stream.inputs(), outputs, 1e-5, 1e-5));
    stream.advance(*block, /*tokens=*/14, [](double) {});
    EXPECT_TRUE(torch::allclose(stream.inputs(), second, 1e-4, 1e-5));
  }
}

// The target W + W C H^-1 is the least squares solution of x T^T = reference W^T.
TEST(InputDrift, GivesTheLeastSquaresTarget) {
  torch::manual_seed(52);
  constexpr int64_t kTokens = 400, kIn = 24, kOut = 5;
  const auto x = torch::randn({kTokens, kIn}), weight = torch::randn({kOut, kIn});
  const auto reference = torch::matmul(x, torch::eye(kIn) + 0.2 * torch::randn({kIn, kIn})) +
                         0.3 * torch::randn_like(x);
  HessianSum hessian(kIn);
  CrossSum cross(kIn);
  for (int64_t first = 0; first < kTokens; first += 100) {
    hessian.add(x.narrow(0, first, 100));
    cross.add(reference.narrow(0, first, 100), x.narrow(0, first, 100));
  }
  const auto target =
      weight + torch::matmul(weight, input_drift(hessian.hessian(), cross.cross(), 1e-9));
  const auto exact = std::get<0>(torch::linalg_lstsq(
      x.to(torch::kDouble), torch::matmul(reference, weight.t()).to(torch::kDouble), c10::nullopt,
      "gelsd"));
  EXPECT_LT((target - exact.t()).norm().item<double>(), 1e-4 * exact.norm().item<double>());
  // Nothing has changed: nothing is to be made good.
  CrossSum none(kIn);
  none.add(x, x);
  EXPECT_EQ(input_drift(hessian.hessian(), none.cross(), 1e-2).abs().max().item<float>(), 0);
}

}  // namespace
}  // namespace bitsmith
