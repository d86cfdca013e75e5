#include "compressor/model/experts.h"

namespace bitsmith {

Routing route(const Block& block, const torch::Tensor& m) {
  const ExpertsPlan& plan = *block.plan->experts;
  const torch::Tensor probabilities =
      torch::softmax(torch::linear(m, block.router).to(torch::kFloat32), -1);
  auto [weights, chosen] = torch::topk(probabilities, plan.experts_per_token, -1);
  if (plan.normalize) weights = weights / weights.sum(-1, /*keepdim=*/true);
  return {chosen, weights.to(m.scalar_type())};
}

torch::Tensor tokens_of_expert(const torch::Tensor& chosen, int64_t expert) {
  return (chosen == expert).any(-1).nonzero().flatten();
}

torch::Tensor run_experts(const Block& block, const torch::Tensor& m) {
  const Routing routing = route(block, m);
  torch::Tensor sum = torch::zeros_like(m);
  for (size_t e = 0; e < block.mlps.size(); ++e) {
    const torch::Tensor at = (routing.chosen == static_cast<int64_t>(e)).nonzero();  // token, place
    if (at.size(0) == 0) continue;
    const torch::Tensor tokens = at.select(1, 0),
                        weights = routing.weights.index({tokens, at.select(1, 1)});
    const Mlp& expert = block.mlps[e];
    const torch::Tensor y = expert.output.forward(expert.hidden(m.index_select(0, tokens)));
    sum = sum.index_add(0, tokens, y * weights.unsqueeze(1));
  }
  return sum;
}

}  // namespace bitsmith
