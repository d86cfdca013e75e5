#include "compressor/train/rules/naive_pv.h"

namespace bitsmith {
namespace {

class NaivePv : public CodeRule {
 public:
  NaivePv(double code_step, const RuleSetup& setup)
      : length_(code_step * setup.distance), setup_(setup) {
    moments_.memory = setup.memory;
  }

  std::optional<CodeChange> step(CodedTerm& term, const torch::Tensor& gradient,
                                 const RunPosition& at) override {
    const torch::NoGradGuard no_grad;
    const auto direction = moments_.direction(gradient, at.step, setup_.adam);
    if (!setup_.schedule.due(at)) return {};
    const auto target = term.dequantize() - length_ * at.rate * direction;
    const auto changed = assign_all_codes(term, term.search_codes(target, {}, {}));
    moments_.shrink_momentum(changed, term.code_group_size(), 0);
    return CodeChange{changed.numel(), direction.square().mean().item<double>()};
  }

  void visit(const std::string& name, const StateVisitor& visitor) override {
    moments_.visit(name, visitor);
  }

 private:
  double length_;  // of the update where Adam's direction is 1
  RuleSetup setup_;
  AdamState moments_;
};

}  // namespace

std::unique_ptr<CodeRule> naive_pv(double code_step, const RuleSetup& setup) {
  return std::make_unique<NaivePv>(code_step, setup);
}

}  // namespace bitsmith
