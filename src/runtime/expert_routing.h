// Which experts the tokens of one forward call go to.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "architecture/model_plan.h"

namespace bitsmith {

// A token that an expert gets, and the weight of the expert's outputs in its sum.
struct RoutedToken {
  int64_t row;
  float weight;
};

// scores [rows, experts]: the router's outputs, overwritten. For each expert its tokens, rows
// rising. Softmax over all experts, then the experts_per_token best; the lower one of equals.
std::vector<std::vector<RoutedToken>> route_tokens(const ExpertsPlan& plan,
                                                   std::span<float> scores);

}  // namespace bitsmith
