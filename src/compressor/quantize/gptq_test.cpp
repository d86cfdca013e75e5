#include <gtest/gtest.h>

#include "compressor/quantize/test_linears.h"

namespace bitsmith {
namespace {

TEST(Gptq, WithoutCorrelationsIsRtn) {
  const TestLinear linear = random_linear(24, 160);
  for (const char* spec : {"int3g32", "int2g32-z", "int4g0"}) {
    const auto nearest = quantize({linear.weight, {}}, spec, "rtn");
    const auto gptq = quantize({linear.weight, torch::eye(160)}, spec, "gptq");
    EXPECT_TRUE(
        torch::equal(nearest.representation->dequantize(), gptq.representation->dequantize()));
  }
}

TEST(Gptq, BeatsRtn) {
  const TestLinear linear = random_linear(48, 256);
  for (const char* spec : {"int4g64", "int3g64", "int2g64", "int2g64-z"}) {
    for (const bool act_order : {false, true}) {
      QuantizeOptions options;
      options.act_order = act_order;
      EXPECT_LT(quantize(linear, spec, "gptq", options).relative_error,
                quantize(linear, spec, "rtn").relative_error);
    }
  }
}

// Optimal brain quantization, word for word: after each column the weights still free move to their
// best values, by a fresh solve. Lazy blocks and the Cholesky factor must come to the same codes.
TEST(Gptq, FollowsTheSlowReference) {
  const int64_t in = 160;
  const TestLinear linear = random_linear(6, in);
  for (const bool act_order : {false, true}) {
    QuantizeOptions options;
    options.act_order = act_order;
    const auto result = quantize(linear, "int3g32", "gptq", options);
    const auto scales = result.representation->continuous_parameters()[0].value.detach();
    auto h = linear.hessian.to(torch::kDouble);
    h.diagonal().add_(options.damping * h.diagonal().mean());
    const auto order =
        act_order ? std::get<1>(linear.hessian.diagonal().sort(true, 0, true)) : torch::arange(in);
    auto w = linear.weight.to(torch::kDouble).clone();
    auto codes = torch::zeros({6, in}, torch::kInt);
    for (int64_t i = 0; i < in; ++i) {
      const int64_t c = order[i].item<int64_t>();
      const auto scale = scales.select(1, c / 32).to(torch::kDouble);
      const auto code = (w.select(1, c) / scale).round().clamp(-4, 3);
      codes.select(1, c).copy_(code + 4);
      const auto error = w.select(1, c) - code * scale;
      const auto free = order.slice(0, i + 1);
      if (free.numel() == 0) break;
      const auto hf = h.index_select(0, free).index_select(1, free);
      const auto move = torch::linalg_solve(hf, h.select(1, c).index_select(0, free));
      w.index_add_(1, free, torch::outer(error, move));
    }
    const auto found = result.representation->coded().codes().reshape({6, in});
    EXPECT_GE((found == codes).to(torch::kFloat).mean().item<float>(), 0.999);
  }
}

}  // namespace
}  // namespace bitsmith
