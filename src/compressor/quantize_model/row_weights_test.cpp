#include "compressor/quantize_model/row_weights.h"

#include <gtest/gtest.h>

namespace bitsmith {
namespace {

AttentionPlan attention(AttentionPlan::Order order) {
  AttentionPlan plan;
  plan.order = order;
  plan.heads = 3;
  plan.kv_heads = order == AttentionPlan::Order::kByHead ? 3 : 1;
  plan.head_dim = 4;
  const int64_t q = plan.q_size(), kv = plan.kv_size();
  if (order == AttentionPlan::Order::kSeparate) {
    plan.inputs = {LinearPlan{"q", q, 8}, LinearPlan{"k", kv, 8}, LinearPlan{"v", kv, 8}};
  } else {
    plan.inputs = {LinearPlan{"qkv", q + 2 * kv, 8}};
  }
  return plan;
}

double error_weight(const torch::Tensor& weights, const torch::Tensor& weight, int64_t row) {
  return (weights[row] * weight[row].square().mean()).item<double>();
}

TEST(RelativeRowWeights, MakeErrorsOfQueriesAndKeysRelative) {
  torch::manual_seed(66);
  const AttentionPlan plan = attention(AttentionPlan::Order::kSeparate);
  const auto q = torch::randn({12, 8}) * torch::logspace(-1, 0, 12).unsqueeze(1);
  const auto weights = relative_row_weights(plan, "q", q);
  EXPECT_NEAR(weights.mean().item<double>(), 1, 1e-5);
  for (int64_t row = 1; row < 12; ++row)
    EXPECT_NEAR(error_weight(weights, q, row), error_weight(weights, q, 0), 1e-4);
  EXPECT_TRUE(relative_row_weights(plan, "k", torch::randn({4, 8})).defined());
  EXPECT_FALSE(relative_row_weights(plan, "v", torch::randn({4, 8})).defined());
  EXPECT_FALSE(relative_row_weights(plan, "o", torch::randn({8, 12})).defined());
  EXPECT_FALSE(relative_row_weights(plan, "q", torch::zeros({12, 8})).defined());
}

TEST(RelativeRowWeights, ValuesInTheSameMatrixAreWeightedAlike) {
  torch::manual_seed(67);
  for (const auto order : {AttentionPlan::Order::kConcatenated, AttentionPlan::Order::kByHead}) {
    const AttentionPlan plan = attention(order);
    const int64_t rows = plan.inputs[0].out_features;
    const auto weights = relative_row_weights(plan, "qkv", torch::randn({rows, 8}));
    const auto values = order == AttentionPlan::Order::kConcatenated
                            ? weights.narrow(0, 16, 4)
                            : weights.view({3, 3, 4}).select(1, 2).flatten();
    EXPECT_TRUE(torch::equal(values, values[0].expand_as(values)));
    EXPECT_FALSE(torch::equal(weights[0], weights[1]));
  }
}

TEST(RelativeRowWeights, RowsOfNothingStayFinite) {
  auto weight = torch::randn({4, 8});
  weight[2].zero_();
  const auto weights =
      relative_row_weights(attention(AttentionPlan::Order::kSeparate), "k", weight);
  EXPECT_TRUE(torch::isfinite(weights).all().item<bool>());
}

}  // namespace
}  // namespace bitsmith
