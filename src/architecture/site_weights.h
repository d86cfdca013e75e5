// Where a block of weights keeps those of a site. The order of sites is sites() alone
// (model_plan.h).
#pragma once
#include <algorithm>
#include <cstddef>
#include <vector>

#include "architecture/model_plan.h"

namespace bitsmith {

// The MLP of a site that belongs to one: `mlps` of a block has one, or one an expert.
template <typename Block>
auto& site_mlp(Block& block, const Site& site) {
  return block.mlps.at(static_cast<size_t>(std::max<int64_t>(site.expert, 0)));
}

// Pointers to the weights of Site::linears, in their order. A block is any struct with
// attention_inputs, attention_output and mlps; an MLP one with inputs and output.
template <typename Block>
auto site_weights(Block& block, const Site& site) {
  std::vector<decltype(&block.attention_output)> result;
  switch (site.kind) {
    case Site::Kind::kAttentionInput:
      for (auto& input : block.attention_inputs) result.push_back(&input);
      break;
    case Site::Kind::kAttentionOutput:
      result.push_back(&block.attention_output);
      break;
    case Site::Kind::kMlpInput:
      for (auto& input : site_mlp(block, site).inputs) result.push_back(&input);
      break;
    case Site::Kind::kMlpDown:
      result.push_back(&site_mlp(block, site).output);
      break;
  }
  return result;
}

}  // namespace bitsmith
