#include "compressor/quantize_model/row_weights.h"

namespace bitsmith {
namespace {

// [out] bool: which rows of attention input number `input` make queries or keys.
torch::Tensor makes_scores(const AttentionPlan& attention, size_t input) {
  torch::Tensor rows = torch::ones({attention.inputs[input].out_features}, torch::kBool);
  switch (attention.order) {
    case AttentionPlan::Order::kSeparate:
      if (input == 2) rows.fill_(false);
      break;
    case AttentionPlan::Order::kConcatenated:
      rows.narrow(0, attention.q_size() + attention.kv_size(), attention.kv_size()).fill_(false);
      break;
    case AttentionPlan::Order::kByHead:
      rows.view({attention.heads, 3, attention.head_dim}).select(1, 2).fill_(false);
      break;
  }
  return rows;
}

}  // namespace

torch::Tensor relative_row_weights(const AttentionPlan& attention, const std::string& module,
                                   const torch::Tensor& weight) {
  constexpr double kLeastShare = 1e-4;  // of the mean, for rows of next to nothing
  for (size_t input = 0; input < attention.inputs.size(); ++input) {
    if (attention.inputs[input].name != module) continue;
    const torch::Tensor relative = makes_scores(attention, input);
    torch::Tensor squares = weight.to(torch::kFloat32).square().mean(1);
    const double mean = squares.mean().item<double>();
    if (!(mean > 0) || !relative.any().item<bool>()) return {};
    const torch::Tensor others = squares.masked_select(relative.logical_not());
    if (others.numel() > 0) squares.masked_fill_(relative.logical_not(), others.mean());
    const torch::Tensor weights = squares.clamp_min(kLeastShare * mean).reciprocal();
    return weights / weights.mean();
  }
  return {};
}

}  // namespace bitsmith
