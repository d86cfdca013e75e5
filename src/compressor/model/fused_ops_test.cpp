#include "compressor/model/fused_ops.h"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace bitsmith {
namespace {

using Operation = std::function<torch::Tensor(const std::vector<torch::Tensor>&)>;

double relative_difference(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor x = a.to(torch::kFloat64), y = b.to(torch::kFloat64);
  return (x - y).norm().item<double>() / (y.norm().item<double>() + 1e-30);
}

struct ValueAndGradients {
  torch::Tensor value;
  std::vector<torch::Tensor> gradients;
};

ValueAndGradients evaluate_with_gradients(const Operation& operation,
                                          const std::vector<torch::Tensor>& inputs,
                                          torch::Dtype dtype) {
  std::vector<torch::Tensor> leaves;
  for (const torch::Tensor& input : inputs)
    leaves.push_back(input.to(dtype).detach().requires_grad_(true));
  ValueAndGradients result;
  result.value = operation(leaves);
  torch::manual_seed(1);
  const torch::Tensor direction = torch::randn(result.value.sizes(), torch::kFloat64);
  (result.value * direction.to(dtype)).sum().backward();
  for (const torch::Tensor& leaf : leaves) result.gradients.push_back(leaf.grad());
  return result;
}

// Float32 and bfloat16 fused results lie as close to the float64 formula as rounding allows.
void expect_matches(const Operation& fused, const Operation& reference,
                    std::vector<torch::Tensor> inputs) {
  for (const torch::Dtype dtype : {torch::kFloat32, torch::kBFloat16}) {
    for (torch::Tensor& input : inputs) input = input.to(dtype).to(torch::kFloat64);
    const double tolerance = dtype == torch::kFloat32 ? 1e-6 : 8e-3;
    const ValueAndGradients got = evaluate_with_gradients(fused, inputs, dtype);
    const ValueAndGradients want = evaluate_with_gradients(reference, inputs, torch::kFloat64);
    EXPECT_EQ(got.value.scalar_type(), dtype);
    EXPECT_LT(relative_difference(got.value, want.value), tolerance) << dtype;
    for (size_t i = 0; i < inputs.size(); ++i)
      EXPECT_LT(relative_difference(got.gradients[i], want.gradients[i]), tolerance)
          << dtype << ", gradient " << i;
  }
}

torch::Tensor normal(std::vector<int64_t> shape, uint64_t seed) {
  torch::manual_seed(seed);
  return torch::randn(shape, torch::kFloat64);
}

TEST(RmsNorm, MatchesTheFormula) {
  for (const int64_t features : {8, 37, 576}) {
    expect_matches([](const auto& in) { return rms_norm(in[0], in[1], 1e-5); },
                   [](const auto& in) {
                     return in[1] * in[0] * (in[0].square().mean(-1, true) + 1e-5).rsqrt();
                   },
                   {3 * normal({3, 50, features}, 1), 1 + normal({features}, 2)});
  }
}

TEST(SiluMul, MatchesTheFormula) {
  torch::Tensor gate = 5 * normal({3, 50, 99}, 3);
  gate[0][0][0] = 200, gate[0][0][1] = -200, gate[0][0][2] = 0;
  const auto formula = [](const auto& in) { return in[0] * torch::sigmoid(in[0]) * in[1]; };
  expect_matches([](const auto& in) { return silu_mul(in[0], in[1]); }, formula,
                 {gate, normal({3, 50, 99}, 4)});
}

TEST(Rotary, TurnsEachPair) {
  const int64_t length = 70, half = 5;
  const torch::Tensor angle = 7 * normal({length, half}, 5);
  const RotaryTable table{angle.cos().to(torch::kFloat32), angle.sin().to(torch::kFloat32)};
  expect_matches([&](const auto& in) { return apply_rotary(in[0], table); },
                 [&](const auto& in) {
                   const torch::Tensor turned = torch::view_as_real(
                       torch::complex(in[0].slice(-1, 0, half), in[0].slice(-1, half)) *
                       torch::polar(torch::ones_like(angle), angle).unsqueeze(1));
                   return torch::cat({turned.select(-1, 0), turned.select(-1, 1)}, -1);
                 },
                 {normal({2, length, 4, 2 * half}, 6)});
}

TEST(FusedOps, EqualTheComposedFormOfOtherDtypes) {
  const torch::Tensor x = normal({2, 9, 4, 6}, 7), weight = normal({6}, 8);
  const torch::Tensor angle = normal({9, 3}, 9);
  const RotaryTable table{angle.cos().to(torch::kFloat32), angle.sin().to(torch::kFloat32)};
  const auto narrow = [](const torch::Tensor& t) { return t.to(torch::kFloat32); };
  EXPECT_LT(
      relative_difference(rms_norm(narrow(x), narrow(weight), 1e-6), rms_norm(x, weight, 1e-6)),
      1e-6);
  EXPECT_LT(relative_difference(silu_mul(narrow(x), narrow(x)), silu_mul(x, x)), 1e-6);
  EXPECT_LT(relative_difference(apply_rotary(narrow(x), table), apply_rotary(x, table)), 1e-6);
}

TEST(FusedOps, ThreadsChangeNothing) {
  std::vector<torch::Tensor> results;
  for (const int threads : {1, 2}) {
    torch::set_num_threads(threads);
    const ValueAndGradients got =
        evaluate_with_gradients([](const auto& in) { return rms_norm(in[0], in[1], 1e-5); },
                                {normal({7, 50, 64}, 1), normal({64}, 2)}, torch::kFloat32);
    results.push_back(got.gradients[1]);
  }
  EXPECT_TRUE(torch::equal(results[0], results[1]));
}

}  // namespace
}  // namespace bitsmith
