#include "compressor/train/rules/subspace_pv.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace bitsmith {

namespace {

class SubspacePv : public CodeRule {
 public:
  SubspacePv(double distance, const SubspacePvOptions& options, const VSchedule& schedule,
             const AdamOptions& adam)
      : distance_(distance), options_(options), schedule_(schedule), adam_(adam) {}

  std::optional<CodeChange> step(CodedTerm& term, const torch::Tensor& gradient,
                                 const RunPosition& at) override {
    const torch::NoGradGuard no_grad;
    const auto direction = moments_.direction(gradient, at.step, torch::kBFloat16, adam_);
    if (!schedule_.due(at)) return {};
    SubspacePvOptions now = options_;
    now.trust_ratio *= at.rate;
    const auto changed = v_step(term, direction, distance_, now).changed;
    moments_.first.view({-1, term.code_group_size()}).index_fill_(0, changed, 0);
    return CodeChange{changed.numel(), direction.square().mean().item<double>()};
  }

  void visit(const std::string& name, const StateVisitor& visitor) override {
    moments_.visit(name, visitor);
  }

 private:
  double distance_;
  SubspacePvOptions options_;
  VSchedule schedule_;
  AdamOptions adam_;
  AdamState moments_;
};

}  // namespace

std::unique_ptr<CodeRule> subspace_pv(double distance, const SubspacePvOptions& options,
                                      const VSchedule& schedule, const AdamOptions& adam) {
  return std::make_unique<SubspacePv>(distance, options, schedule, adam);
}

VStepResult v_step(CodedTerm& term, const torch::Tensor& direction, double distance,
                   const SubspacePvOptions& options) {
  const torch::NoGradGuard no_grad;
  const int64_t g = term.code_group_size(), code_groups = term.num_code_groups();
  const auto present = term.dequantize();
  const auto in_code_groups = present.reshape({code_groups, g});
  const auto weights = static_cast<double>(present.numel());
  const auto target = present - options.step * distance * direction;
  const auto importance = direction.reshape({code_groups, g}).square().sum(1);

  const int64_t chunk =
      std::max<int64_t>(1, static_cast<int64_t>(std::ceil(options.chunk * code_groups)));
  const int64_t searched = std::min(code_groups, chunk * options.max_chunks);
  const auto order = std::get<1>(importance.topk(searched, 0, true, true));

  std::vector<torch::Tensor> changed;
  bool any_kept = false, full = false;
  const double budget = weights * std::pow(options.trust_ratio * distance, 2);
  double used = 0;
  for (int64_t first = 0; first < searched && !full; first += chunk) {
    const auto by_importance = order.narrow(0, first, std::min(chunk, searched - first));
    const auto [sorted, position] = by_importance.sort();  // searches want ascending code groups
    const auto codes = term.search_codes(target, {}, sorted);
    const auto changes =
        (term.decode_code_groups(sorted, codes) - in_code_groups.index_select(0, sorted))
            .square()
            .sum(1);
    // Rank of each sorted code group, so that the walk below goes by importance.
    std::vector<int64_t> walk(static_cast<size_t>(sorted.numel())), kept;
    const auto* rank = position.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < sorted.numel(); ++i) walk[rank[i]] = i;
    const auto differs = (codes != term.codes().index_select(0, sorted)).any(1).contiguous();
    const auto* change = changes.const_data_ptr<float>();
    const auto* differ = differs.const_data_ptr<bool>();
    for (const int64_t i : walk) {
      if (!differ[i]) continue;
      if (used + change[i] > budget && any_kept) {
        full = true;
        break;
      }
      used += change[i];
      kept.push_back(i);
      any_kept = true;
    }
    std::sort(kept.begin(), kept.end());
    const auto keep = torch::tensor(kept, torch::kInt64);
    changed.push_back(sorted.index_select(0, keep));
    term.assign_codes(changed.back(), codes.index_select(0, keep));
  }
  return {torch::cat(changed), std::sqrt(used / weights)};
}

}  // namespace bitsmith
