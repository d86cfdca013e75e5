#include "compressor/train/rules/subspace_pv.h"

#include "compressor/train/rules/linearized_rule.h"

namespace bitsmith {
namespace {

class SubspacePv : public LinearizedRule {
 public:
  SubspacePv(double code_step, const SubspaceOptions& options, const RuleSetup& setup)
      : LinearizedRule(code_step, setup), options_(options) {}

 private:
  torch::Tensor move_codes(CodedTerm& term, const torch::Tensor& direction,
                           const RunPosition& at) override {
    SubspaceOptions now = options_;
    now.trust_ratio *= at.rate;
    const auto changed =
        v_step(term, -length_ * direction, setup_.distance, now, setup_.draws.at(at.step)).changed;
    drop_momentum(term, changed);
    return changed;
  }

  SubspaceOptions options_;
};

}  // namespace

std::unique_ptr<CodeRule> subspace_pv(double code_step, const SubspaceOptions& options,
                                      const RuleSetup& setup) {
  return std::make_unique<SubspacePv>(code_step, options, setup);
}

}  // namespace bitsmith
