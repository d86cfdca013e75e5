#include <gtest/gtest.h>

#include <string>

#include "compressor/quantize/test_linears.h"

namespace bitsmith {
namespace {

QuantizeOptions sweep_only() {
  QuantizeOptions options;
  options.max_rounds = 0;
  return options;
}

TEST(Gptq, WithoutCorrelationsItsSweepIsRtn) {
  const TestLinear linear = random_linear(24, 160);
  for (const char* spec : {"int3g32", "int2g32-z", "int4g0"}) {
    const auto nearest = quantize({linear.weight, {}}, spec, "rtn");
    const auto gptq = quantize({linear.weight, torch::eye(160)}, spec, "gptq", sweep_only());
    EXPECT_TRUE(
        torch::equal(nearest.representation->dequantize(), gptq.representation->dequantize()));
  }
}

TEST(Gptq, BeatsRtn) {
  const TestLinear linear = random_linear(48, 256);
  for (const char* spec : {"int4g64", "int3g64", "int2g64", "int2g64-z"}) {
    for (const bool act_order : {false, true}) {
      QuantizeOptions options = sweep_only();
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
    QuantizeOptions options = sweep_only();
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

TEST(Gptq, RoundsAfterTheSweepHelp) {
  const TestLinear linear = random_linear(48, 128);
  Objective joined(linear.hessian);
  const auto gradients = torch::randn({200, 48}) + 0.5 * torch::randn({200, 1});
  joined.output_factor = torch::matmul(gradients.t(), gradients) / 100;
  for (const Objective& objective : {Objective(linear.hessian), joined}) {
    for (const char* spec : {"int4g64", "int3g32", "int2g0", "int2g64-z"}) {
      const auto sweep = quantize_by(linear.weight, objective, spec, sweep_only());
      const auto rounds = quantize_by(linear.weight, objective, spec);
      EXPECT_LT(rounds.relative_error, sweep.relative_error) << spec;
      ASSERT_GE(rounds.stages.size(), 3u);
      EXPECT_EQ(rounds.stages[0].relative_error, sweep.stages[0].relative_error);
      for (size_t i = 1; i < rounds.stages.size(); ++i)
        EXPECT_LE(rounds.stages[i].relative_error, rounds.stages[i - 1].relative_error);
    }
  }
}

// When rounds change nothing any more, no other code and no other grid of one group is better:
// all of them are tried.
TEST(Gptq, NoCodeAndNoGridAloneIsBetter) {
  constexpr int64_t kOut = 3, kIn = 8, kSize = 4;
  const TestLinear linear = random_linear(kOut, kIn);
  QuantizeOptions options;
  options.tolerance = 0;
  options.max_rounds = 100;
  options.damping = 1e-8;
  // Every finite fp16 value.
  auto scales = torch::arange(-32768, 32768).to(torch::kShort).view(torch::kHalf);
  scales = scales.index({torch::isfinite(scales)}).to(torch::kDouble);
  const auto h = linear.hessian.to(torch::kDouble);
  const auto costs = [&](const torch::Tensor& differences) {  // [n, in]
    return (torch::matmul(differences, h) * differences).sum(1);
  };
  for (const char* spec : {"int3g4", "int2g4-z"}) {
    const bool has_zeros = std::string(spec).ends_with("-z");
    const auto result = quantize(linear, spec, "gptq", options);
    const auto& representation = *result.representation;
    const auto parameters = representation.continuous_parameters();
    const auto own_scales = parameters[0].value.detach().to(torch::kDouble);
    const int64_t levels = has_zeros ? 4 : 8;
    const auto own_zeros =
        has_zeros ? parameters[1].value.detach().to(torch::kDouble) : torch::full({kOut, 2}, 4.0);
    const auto codes = representation.coded().codes().reshape({kOut, kIn}).to(torch::kDouble);
    const auto left =
        linear.weight.to(torch::kDouble) - representation.dequantize().detach().to(torch::kDouble);
    for (int64_t row = 0; row < kOut; ++row) {
      const double least = costs(left[row].unsqueeze(0)).item<double>() * (1 - 5e-3);
      for (int64_t i = 0; i < kIn; ++i) {
        auto others = left[row].repeat({levels, 1});
        others.select(1, i).add_((codes[row][i] - torch::arange(levels)) *
                                 own_scales[row][i / kSize]);
        EXPECT_GE(costs(others).min().item<double>(), least) << spec;
      }
      for (int64_t group = 0; group < kIn / kSize; ++group) {
        const auto of_group = codes[row].narrow(0, group * kSize, kSize);
        const auto present = own_scales[row][group] * (of_group - own_zeros[row][group]);
        for (int64_t zero = has_zeros ? 0 : 4; zero < (has_zeros ? 4 : 5); ++zero) {
          auto others = left[row].repeat({scales.size(0), 1});
          others.narrow(1, group * kSize, kSize)
              .add_(present - torch::outer(scales, of_group - zero));
          EXPECT_GE(costs(others).min().item<double>(), least) << spec;
        }
      }
    }
  }
}

}  // namespace
}  // namespace bitsmith
