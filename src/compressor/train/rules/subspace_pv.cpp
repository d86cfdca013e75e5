#include "compressor/train/rules/subspace_pv.h"

namespace bitsmith {
namespace {

class SubspacePv : public CodeRule {
 public:
  SubspacePv(double code_step, const SubspaceOptions& options, const RuleSetup& setup)
      : length_(code_step * setup.distance), options_(options), setup_(setup) {
    moments_.memory = setup.memory;
  }

  std::optional<CodeChange> step(CodedTerm& term, const torch::Tensor& gradient,
                                 const RunPosition& at) override {
    const torch::NoGradGuard no_grad;
    const auto direction = moments_.direction(gradient, at.step, setup_.adam);
    if (!setup_.schedule.due(at)) return {};
    SubspaceOptions now = options_;
    now.trust_ratio *= at.rate;
    const auto changed =
        v_step(term, -length_ * direction, setup_.distance, now, setup_.draws.at(at.step)).changed;
    moments_.shrink_momentum(changed, term.code_group_size(), 0);
    return CodeChange{changed.numel(), direction.square().mean().item<double>()};
  }

  void visit(const std::string& name, const StateVisitor& visitor) override {
    moments_.visit(name, visitor);
  }

 private:
  double length_;  // of the update where Adam's direction is 1
  SubspaceOptions options_;
  RuleSetup setup_;
  AdamState moments_;
};

}  // namespace

std::unique_ptr<CodeRule> subspace_pv(double code_step, const SubspaceOptions& options,
                                      const RuleSetup& setup) {
  return std::make_unique<SubspacePv>(code_step, options, setup);
}

}  // namespace bitsmith
