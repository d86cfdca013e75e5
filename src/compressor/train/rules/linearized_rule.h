// What the rules have in common that search codes near one step (PV-Tuning, section 3.2): the
// direction is Adam's, its moments are their whole state.
#pragma once
#include "compressor/train/code_rule.h"

namespace bitsmith {

class LinearizedRule : public CodeRule {
 public:
  // `code_step`: length of the update where Adam's direction is 1, in units of the distance.
  LinearizedRule(double code_step, const RuleSetup& setup)
      : length_(code_step * setup.distance), setup_(setup) {
    moments_.memory = setup.memory;
  }

  std::optional<CodeChange> step(CodedTerm& term, const torch::Tensor& gradient,
                                 const RunPosition& at) final {
    const torch::NoGradGuard no_grad;
    if (!setup_.schedule.due(at)) {
      moments_.take(gradient, at.step, setup_.adam);
      return {};
    }
    const auto direction = moments_.direction(gradient, at.step, setup_.adam);
    const auto changed = move_codes(term, direction, at);
    return CodeChange{changed.numel(), direction.square().mean().item<double>()};
  }

  void visit(const std::string& name, const StateVisitor& visitor) final {
    moments_.visit(name, visitor);
  }

 protected:
  // A V step; returns the code groups whose codes changed, as flat indices [n] int64.
  virtual torch::Tensor move_codes(CodedTerm& term, const torch::Tensor& direction,
                                   const RunPosition& at) = 0;

  // Of code groups whose codes changed: what it asked for has been done.
  void drop_momentum(const CodedTerm& term, const torch::Tensor& changed) {
    moments_.shrink_momentum(changed, term.code_group_size(), 0);
  }

  const double length_;  // of the update where Adam's direction is 1
  const RuleSetup setup_;

 private:
  AdamState moments_;
};

}  // namespace bitsmith
