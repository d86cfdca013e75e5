// Mixture of experts: which tokens go to which expert, and what the experts give together.
#pragma once
#include <vector>

#include "compressor/model/block.h"

namespace bitsmith {

// What the router of a block decides for some tokens.
struct Routing {
  struct Expert {
    torch::Tensor tokens;   // [n] int64, rising: rows of the inputs
    torch::Tensor weights;  // [n], of the router's dtype
  };
  std::vector<Expert> experts;
};

// m [tokens, hidden]: the MLP's inputs. Softmax over all experts in float32, then the `used` best.
Routing route(const Block& block, const torch::Tensor& m);
// The weighted sum of the experts' outputs, [tokens, hidden].
torch::Tensor run_experts(const Block& block, const torch::Tensor& m);

}  // namespace bitsmith
