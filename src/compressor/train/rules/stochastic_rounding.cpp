#include "compressor/train/rules/stochastic_rounding.h"

#include <cmath>

namespace bitsmith {
namespace {

class StochasticRounding : public CodeRule {
 public:
  StochasticRounding(const StochasticRoundingOptions& options, const RuleSetup& setup)
      : length_(options.step * setup.distance), temperature_(options.temperature), setup_(setup) {}

  std::optional<CodeChange> step(CodedTerm& term, const torch::Tensor& gradient,
                                 const RunPosition& at) override {
    const torch::NoGradGuard no_grad;
    const auto direction = moments_.direction(gradient, at.step, torch::kBFloat16, setup_.adam);
    if (!setup_.schedule.due(at)) return {};
    const auto target = term.dequantize() - length_ * at.rate * direction;
    const auto codes = round_stochastically(term, target, temperature_, setup_.draws.at(at.step));
    const auto changed = assign_all_codes(term, codes);
    return CodeChange{changed.numel(), direction.square().mean().item<double>()};
  }

  void visit(const std::string& name, const StateVisitor& visitor) override {
    moments_.visit(name, visitor);
  }

 private:
  double length_;  // of the update where Adam's direction is 1
  double temperature_;
  RuleSetup setup_;
  AdamState moments_;
};

}  // namespace

torch::Tensor round_stochastically(const CodedTerm& term, const torch::Tensor& target,
                                   double temperature, Random random) {
  const torch::NoGradGuard no_grad;
  const auto nearest = term.search_codes(target, {}, {});
  const auto second = term.search_neighbors(target, nearest, {});
  const auto wanted = target.reshape({term.num_code_groups(), term.code_group_size()});
  const auto squared_distances = [&](const torch::Tensor& codes) {
    return (term.decode_code_groups({}, codes) - wanted).square().sum(1).contiguous();
  };
  const auto near = squared_distances(nearest), far = squared_distances(second);
  auto takes_second = torch::empty({term.num_code_groups()}, torch::kBool);
  const auto* d0 = near.const_data_ptr<float>();
  const auto* d1 = far.const_data_ptr<float>();
  auto* takes = takes_second.mutable_data_ptr<bool>();
  for (int64_t i = 0; i < takes_second.numel(); ++i) {
    // Of squares. Both zero: not a number, which no draw is below.
    const double odds = std::pow(static_cast<double>(d1[i]) / d0[i], 0.5 / temperature);
    takes[i] = random.uniform() < 1 / (1 + odds);
  }
  return torch::where(takes_second.unsqueeze(1), second, nearest);
}

std::unique_ptr<CodeRule> stochastic_rounding(const StochasticRoundingOptions& options,
                                              const RuleSetup& setup) {
  return std::make_unique<StochasticRounding>(options, setup);
}

}  // namespace bitsmith
