#include "compressor/train/rules/averaged_gradient.h"

#include "compressor/train/step_times.h"

namespace bitsmith {
namespace {

class AveragedGradient : public CodeRule {
 public:
  AveragedGradient(const CodedTerm& term, double momentum, const RuleSetup& setup)
      : momentum_(momentum),
        mean_(setup.memory->zeros({term.out_features(), term.in_features()}, torch::kFloat32)) {}

  std::optional<CodeChange> step(CodedTerm&, const torch::Tensor& gradient,
                                 const RunPosition&) override {
    const torch::NoGradGuard no_grad;
    const TimedPart timed(StepPart::kOptimizer);
    mean_.mul_(momentum_).add_(gradient, 1 - momentum_);
    return {};
  }

  void visit(const std::string& name, const StateVisitor& visitor) override {
    visitor(name + ".mean_gradient", mean_);
  }
  torch::Tensor mean_gradient() const override { return mean_; }

 private:
  double momentum_;
  torch::Tensor mean_;
};

}  // namespace

std::unique_ptr<CodeRule> averaged_gradient(const CodedTerm& term, double momentum,
                                            const RuleSetup& setup) {
  return std::make_unique<AveragedGradient>(term, momentum, setup);
}

}  // namespace bitsmith
