// Mixture of experts: which tokens go to which expert, and what the experts give together.
#pragma once
#include "compressor/model/block.h"

namespace bitsmith {

// What the router of a block decides for some tokens.
struct Routing {
  torch::Tensor chosen;   // [tokens, experts_per_token] int64: experts
  torch::Tensor weights;  // [tokens, experts_per_token], of their outputs
};

// m [tokens, hidden]: the MLP's inputs. Softmax over all experts in float32, then the
// experts_per_token best.
Routing route(const Block& block, const torch::Tensor& m);
// The tokens that an expert gets, rising: rows of `chosen` [tokens, experts_per_token].
torch::Tensor tokens_of_expert(const torch::Tensor& chosen, int64_t expert);
// The weighted sum of the experts' outputs, [tokens, hidden].
torch::Tensor run_experts(const Block& block, const torch::Tensor& m);

}  // namespace bitsmith
