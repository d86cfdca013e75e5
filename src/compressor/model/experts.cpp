#include "compressor/model/experts.h"

namespace bitsmith {

Routing route(const Block& block, const torch::Tensor& m) {
  const ExpertsPlan& plan = *block.plan->experts;
  const torch::Tensor probabilities =
      torch::softmax(torch::linear(m, block.router).to(torch::kFloat32), -1);
  auto [weights, chosen] = torch::topk(probabilities, plan.used, -1);  // [tokens, used]
  if (plan.normalize) weights = weights / weights.sum(-1, /*keepdim=*/true);
  weights = weights.to(m.scalar_type());
  Routing routing;
  for (int64_t e = 0; e < std::ssize(plan.experts); ++e) {
    const torch::Tensor at = (chosen == e).nonzero();  // [n, 2]: token, place
    const torch::Tensor tokens = at.select(1, 0).contiguous();
    routing.experts.push_back({tokens, weights.index({tokens, at.select(1, 1)})});
  }
  return routing;
}

torch::Tensor run_experts(const Block& block, const torch::Tensor& m) {
  const Routing routing = route(block, m);
  torch::Tensor sum = torch::zeros_like(m);
  for (size_t e = 0; e < routing.experts.size(); ++e) {
    const auto& [tokens, weights] = routing.experts[e];
    if (tokens.numel() == 0) continue;
    const Mlp& expert = block.mlps[e];
    const torch::Tensor y = expert.output.forward(expert.hidden(m.index_select(0, tokens)));
    sum = sum.index_add(0, tokens, y * weights.unsqueeze(1));
  }
  return sum;
}

}  // namespace bitsmith
