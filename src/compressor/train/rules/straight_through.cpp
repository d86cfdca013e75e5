#include "compressor/train/rules/straight_through.h"

namespace bitsmith {
namespace {

class StraightThrough : public CodeRule {
 public:
  StraightThrough(const CodedTerm& term, const LatentOptions& options, const RuleSetup& setup)
      : latent_(term, options, setup), schedule_(setup.schedule) {}

  std::optional<CodeChange> step(CodedTerm& term, const torch::Tensor& gradient,
                                 const RunPosition& at) override {
    const torch::NoGradGuard no_grad;
    const auto direction = latent_.step(gradient, at);
    if (!schedule_.due(at)) return {};
    const auto changed = assign_all_codes(term, term.search_codes(latent_.values(), {}, {}));
    latent_.forget(term, changed);
    return CodeChange{changed.numel(), direction.square().mean().item<double>()};
  }

  void visit(const std::string& name, const StateVisitor& visitor) override {
    latent_.visit(name, visitor);
  }

 private:
  LatentWeights latent_;
  VSchedule schedule_;
};

}  // namespace

std::unique_ptr<CodeRule> straight_through(const CodedTerm& term, const LatentOptions& options,
                                           const RuleSetup& setup) {
  return std::make_unique<StraightThrough>(term, options, setup);
}

}  // namespace bitsmith
