#include "compressor/train/rules/stochastic_rounding.h"

#include <algorithm>
#include <cmath>

#include "compressor/train/rules/linearized_rule.h"

namespace bitsmith {
namespace {

constexpr int64_t kCodeGroupsAtOnce = int64_t{1} << 20;  // bounds the memory of the candidates

class StochasticRounding : public LinearizedRule {
 public:
  StochasticRounding(const StochasticRoundingOptions& options, const RuleSetup& setup)
      : LinearizedRule(options.step, setup), temperature_(options.temperature) {}

 private:
  torch::Tensor move_codes(CodedTerm& term, const torch::Tensor& direction,
                           const RunPosition& at) override {
    const auto target = term.dequantize() - length_ * at.rate * direction;
    const auto codes = round_stochastically(term, target, temperature_, setup_.draws.at(at.step));
    return assign_all_codes(term, codes);
  }

  double temperature_;
};

// Whether the second candidate is drawn [count] bool; near and far: squares of the distances.
torch::Tensor draw_second(const float* near, const float* far, int64_t count, double temperature,
                          Random& random) {
  auto drawn = torch::empty({count}, torch::kBool);
  auto* takes = drawn.mutable_data_ptr<bool>();
  for (int64_t i = 0; i < count; ++i) {
    // Both zero: not a number, which no draw is below.
    const double odds = std::pow(static_cast<double>(far[i]) / near[i], 0.5 / temperature);
    takes[i] = random.uniform() < 1 / (1 + odds);
  }
  return drawn;
}

}  // namespace

torch::Tensor round_stochastically(const CodedTerm& term, const torch::Tensor& target,
                                   double temperature, Random random) {
  const torch::NoGradGuard no_grad;
  const int64_t all = term.num_code_groups();
  const auto wanted = target.reshape({all, term.code_group_size()});
  auto result = torch::empty(term.codes().sizes(), torch::kInt);
  for (int64_t begin = 0; begin < all; begin += kCodeGroupsAtOnce) {
    const int64_t count = std::min(kCodeGroupsAtOnce, all - begin);
    const auto code_groups = torch::arange(begin, begin + count);
    const auto nearest = term.search_codes(target, {}, code_groups);
    const auto second = term.search_neighbors(target, nearest, code_groups);
    const auto squared_distances = [&](const torch::Tensor& codes) {
      const auto rest =
          term.decode_code_groups(code_groups, codes) - wanted.narrow(0, begin, count);
      return rest.square().sum(1).contiguous();
    };
    const auto near = squared_distances(nearest), far = squared_distances(second);
    const auto takes = draw_second(near.const_data_ptr<float>(), far.const_data_ptr<float>(), count,
                                   temperature, random);
    result.narrow(0, begin, count).copy_(torch::where(takes.unsqueeze(1), second, nearest));
  }
  return result;
}

std::unique_ptr<CodeRule> stochastic_rounding(const StochasticRoundingOptions& options,
                                              const RuleSetup& setup) {
  return std::make_unique<StochasticRounding>(options, setup);
}

}  // namespace bitsmith
