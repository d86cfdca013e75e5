#include "compressor/model/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

namespace bitsmith {
namespace {

double difference(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor x = a.to(torch::kFloat64), y = b.to(torch::kFloat64);
  return ((x - y).norm() / (y.norm() + 1)).item<double>();  // one token has no gradient in q, k
}

struct Case {
  int64_t batch, length, heads, kv_heads, head_dim;
  AttentionOptions options = {};
};

// The formula, position by position.
torch::Tensor plain_attention(const torch::Tensor& q, const torch::Tensor& k,
                              const torch::Tensor& v, const AttentionOptions& options) {
  const int64_t length = q.size(1), heads = q.size(2), repeats = heads / k.size(2);
  const torch::Tensor queries = q.transpose(1, 2);
  const torch::Tensor keys = k.repeat_interleave(repeats, 2).transpose(1, 2);
  const torch::Tensor values = v.repeat_interleave(repeats, 2).transpose(1, 2);
  torch::Tensor hidden = torch::zeros({length, length}, torch::kBool);
  torch::Tensor bias = torch::zeros({heads, length, length}, torch::kFloat64);
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t j = 0; j < length; ++j) {
      hidden[i][j] = j > i || (options.window > 0 && i - j >= options.window);
      for (int64_t h = 0; h < heads && options.alibi; ++h)  // heads: a power of two here
        bias[h][i][j] = std::pow(2.0, -8.0 * (h + 1.0) / heads) * static_cast<double>(j - i);
    }
  }
  torch::Tensor scores = torch::matmul(queries, keys.transpose(2, 3)) * options.scale;
  if (options.soft_cap > 0) scores = options.soft_cap * torch::tanh(scores / options.soft_cap);
  scores = (scores + bias.to(scores.scalar_type())).masked_fill(hidden, -INFINITY);
  return torch::matmul(scores.softmax(-1), values).transpose(1, 2).reshape({q.size(0), length, -1});
}

class Attention : public testing::TestWithParam<std::tuple<torch::Dtype, Case>> {};

TEST_P(Attention, ValueAndGradientsMatchTheFormula) {
  const auto& [dtype, c] = GetParam();
  torch::manual_seed(c.length);
  std::vector<torch::Tensor> got_leaves, want_leaves;
  for (const int64_t heads : {c.heads, c.kv_heads, c.kv_heads}) {
    const torch::Tensor x =
        torch::randn({c.batch, c.length, heads, c.head_dim}, torch::kFloat64).to(dtype);
    got_leaves.push_back(x.clone().requires_grad_(true));
    want_leaves.push_back(x.to(torch::kFloat64).requires_grad_(true));
  }
  AttentionOptions options = c.options;
  if (options.scale == 1) options.scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim));
  const torch::Tensor got = causal_attention(got_leaves[0], got_leaves[1], got_leaves[2], options);
  const torch::Tensor want =
      plain_attention(want_leaves[0], want_leaves[1], want_leaves[2], options);
  const double tolerance = dtype == torch::kFloat32 ? 1e-5 : 1e-2;
  EXPECT_LT(difference(got, want), tolerance);
  const torch::Tensor direction = torch::randn_like(want);
  (got * direction.to(dtype)).sum().backward();
  (want * direction.to(dtype).to(torch::kFloat64)).sum().backward();
  for (int i = 0; i < 3; ++i) {
    EXPECT_LT(difference(got_leaves[i].grad(), want_leaves[i].grad()), tolerance) << "qkv"[i];
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, Attention,
    testing::Combine(testing::Values(torch::kFloat32, torch::kBFloat16),
                     testing::Values(Case{1, 1, 2, 1, 32}, Case{2, 63, 6, 2, 64},
                                     Case{2, 64, 3, 3, 32}, Case{1, 150, 9, 3, 64},
                                     Case{1, 65, 4, 1, 128}, Case{2, 40, 4, 2, 16},
                                     Case{2, 70, 4, 2, 64, {.window = 9}},
                                     Case{2, 33, 4, 2, 32, {.scale = 0.3}},
                                     Case{2, 33, 4, 4, 16, {.alibi = true}},
                                     Case{2, 37, 4, 2, 32, {.soft_cap = 0.7}},
                                     Case{2, 37, 4, 2, 32, {.window = 9, .soft_cap = 2}})));

TEST(AttentionThreads, ChangeNothing) {
  std::vector<torch::Tensor> gradients;
  for (const int threads : {1, 2}) {
    torch::set_num_threads(threads);
    torch::manual_seed(0);
    torch::Tensor q = torch::randn({2, 130, 4, 64}).to(torch::kBFloat16).requires_grad_(true);
    const torch::Tensor k = torch::randn({2, 130, 2, 64}).to(torch::kBFloat16);
    causal_attention(q, k, k, {.scale = 0.125}).to(torch::kFloat32).square().sum().backward();
    gradients.push_back(q.grad());
  }
  EXPECT_TRUE(torch::equal(gradients[0], gradients[1]));
}

}  // namespace
}  // namespace bitsmith
