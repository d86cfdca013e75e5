#include "runtime/expert_routing.h"

#include <algorithm>
#include <numeric>

#include "kernels/kernel_table.h"

namespace bitsmith {

std::vector<std::vector<RoutedToken>> route_tokens(const ExpertsPlan& plan,
                                                   std::span<float> scores) {
  const size_t count = plan.experts.size();
  std::vector<std::vector<RoutedToken>> tokens(count);
  std::vector<size_t> order(count);
  for (size_t row = 0; row * count < scores.size(); ++row) {
    const std::span<float> p = scores.subspan(row * count, count);
    double total = kernels().softmax.exponentials(p.data(), std::ssize(p));
    std::iota(order.begin(), order.end(), 0);
    const auto chosen = std::span(order).first(static_cast<size_t>(plan.experts_per_token));
    std::partial_sort(order.begin(), order.begin() + std::ssize(chosen), order.end(),
                      [&](size_t a, size_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
    if (plan.normalize) {
      total = 0;
      for (const size_t expert : chosen) total += p[expert];
    }
    for (const size_t expert : chosen)
      tokens[expert].push_back({static_cast<int64_t>(row), static_cast<float>(p[expert] / total)});
  }
  return tokens;
}

}  // namespace bitsmith
