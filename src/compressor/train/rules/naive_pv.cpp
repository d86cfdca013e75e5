#include "compressor/train/rules/naive_pv.h"

#include "compressor/train/rules/linearized_rule.h"

namespace bitsmith {
namespace {

class NaivePv : public LinearizedRule {
 public:
  using LinearizedRule::LinearizedRule;

 private:
  torch::Tensor move_codes(CodedTerm& term, const torch::Tensor& direction,
                           const RunPosition& at) override {
    const auto target = term.dequantize() - length_ * at.rate * direction;
    const auto changed = assign_all_codes(term, term.search_codes(target, {}, {}));
    drop_momentum(term, changed);
    return changed;
  }
};

}  // namespace

std::unique_ptr<CodeRule> naive_pv(double code_step, const RuleSetup& setup) {
  return std::make_unique<NaivePv>(code_step, setup);
}

}  // namespace bitsmith
