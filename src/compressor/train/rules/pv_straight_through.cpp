#include "compressor/train/rules/pv_straight_through.h"

namespace bitsmith {
namespace {

class PvStraightThrough : public CodeRule {
 public:
  PvStraightThrough(const CodedTerm& term, const LatentOptions& latent,
                    const SubspaceOptions& subspace, const RuleSetup& setup)
      : latent_(term, latent, setup), subspace_(subspace), setup_(setup) {}

  std::optional<CodeChange> step(CodedTerm& term, const torch::Tensor& gradient,
                                 const RunPosition& at) override {
    const torch::NoGradGuard no_grad;
    const auto direction = latent_.step(gradient, at);
    if (!setup_.schedule.due(at)) return {};
    SubspaceOptions now = subspace_;
    now.trust_ratio *= at.rate;
    const auto update = latent_.values() - term.dequantize();
    const auto changed =
        v_step(term, update, setup_.distance, now, setup_.draws.at(at.step)).changed;
    latent_.forget(term, changed);
    return CodeChange{changed.numel(), direction.square().mean().item<double>()};
  }

  void visit(const std::string& name, const StateVisitor& visitor) override {
    latent_.visit(name, visitor);
  }

 private:
  LatentWeights latent_;
  SubspaceOptions subspace_;
  RuleSetup setup_;
};

}  // namespace

std::unique_ptr<CodeRule> pv_straight_through(const CodedTerm& term, const LatentOptions& latent,
                                              const SubspaceOptions& subspace,
                                              const RuleSetup& setup) {
  return std::make_unique<PvStraightThrough>(term, latent, subspace, setup);
}

}  // namespace bitsmith
