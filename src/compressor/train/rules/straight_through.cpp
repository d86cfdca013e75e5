#include "compressor/train/rules/straight_through.h"

namespace bitsmith {
namespace {

class StraightThrough : public CodeRule {
 public:
  StraightThrough(const CodedTerm& term, double distance, const StraightThroughOptions& options,
                  const VSchedule& schedule, const AdamOptions& adam)
      : latent_(term.dequantize().detach().clone()),
        unit_(distance * options.rate),
        schedule_(schedule),
        adam_(adam) {}

  std::optional<CodeChange> step(CodedTerm& term, const torch::Tensor& gradient,
                                 const RunPosition& at) override {
    const torch::NoGradGuard no_grad;
    const auto direction = moments_.direction(gradient, at.step, torch::kBFloat16, adam_);
    latent_.sub_(direction, unit_ * at.rate);
    if (!schedule_.due(at)) return {};
    const auto codes = term.search_codes(latent_, {}, {});
    const auto changed = (codes != term.codes()).any(1).nonzero().squeeze(1);
    term.assign_codes(changed, codes.index_select(0, changed));
    return CodeChange{changed.numel(), direction.square().mean().item<double>()};
  }

  void visit(const std::string& name, const StateVisitor& visitor) override {
    visitor(name + ".latent", latent_);
    moments_.visit(name, visitor);
  }

 private:
  torch::Tensor latent_;  // [out, in] float32, in the space of what the term gives
  double unit_;           // length of a step where Adam's direction is 1
  VSchedule schedule_;
  AdamOptions adam_;
  AdamState moments_;
};

}  // namespace

std::unique_ptr<CodeRule> straight_through(const CodedTerm& term, double distance,
                                           const StraightThroughOptions& options,
                                           const VSchedule& schedule, const AdamOptions& adam) {
  return std::make_unique<StraightThrough>(term, distance, options, schedule, adam);
}

}  // namespace bitsmith
