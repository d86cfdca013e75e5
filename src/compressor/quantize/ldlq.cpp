// QuIP#'s rounding (Tseng et al. 2024, section 4.1: BlockLDLQ with blocks of eight inputs): points
// of a fixed lattice codebook, group after group with error feedback.
#include <algorithm>

#include "base/error.h"
#include "compressor/quantize/additive_solve.h"
#include "compressor/quantize/methods.h"
#include "compressor/quantize/row_errors.h"
#include "compressor/quantize/stage_reports.h"
#include "compressor/representation/format_parts.h"
#include "compressor/representation/kinds/e8p.h"
#include "compressor/representation/kinds/e8p_search.h"

namespace bitsmith {
namespace {

constexpr int kScaleIterations = 8;  // of conjugate gradients, where rows meet

// Scales are always values that the file can hold.
struct LdlqState {
  torch::Tensor scales;  // [out, stages]
  torch::Tensor codes;   // [out * in / 8, stages] int32
};

class Ldlq {
 public:
  Ldlq(const torch::Tensor& weight, const Objective& objective, const E8pSpec& spec,
       const QuantizeOptions& options)
      : weight_(weight),
        objective_(objective),
        spec_(spec),
        options_(options),
        out_(weight.size(0)),
        in_(weight.size(1)),
        state_{start_scales(),
               torch::zeros({weight.numel() / kE8Size, spec.stages()}, torch::kInt)},
        errors_(weight, objective) {}

  std::unique_ptr<CodedTerm> nearest() {
    state_.codes = best_codes({});
    return term();
  }

  std::unique_ptr<CodedTerm> run(std::vector<StageReport>& stages) {
    if (objective_.joins_rows() && options_.max_rounds == 0) {
      throw Error(
          "the sweep of ldlq knows of a full output factor its diagonal only: it needs rounds of "
          "scales and codes after it");
    }
    StageReports reports(stages, weight_, objective_);
    auto search = this->search();
    state_.codes = search_with_feedback(search, state_.codes, weight_,
                                        objective_.factor(in_, options_.damping));
    errors_.keep(dense(state_));
    reports.add("sweep", errors_.total());
    for (int round = 1; round <= options_.max_rounds && errors_.total() > 0; ++round) {
      check_cancelled(options_.cancel);
      const double before = errors_.total();
      accept({best_scales(), state_.codes});
      reports.add(concat("round ", round, " scales"), errors_.total());
      accept({state_.scales, best_codes(objective_)});
      reports.add(concat("round ", round, " codes"), errors_.total());
      if (errors_.total() > before * (1 - options_.tolerance)) break;
    }
    return term();
  }

 private:
  std::unique_ptr<CodedTerm> term() const {
    return std::make_unique<E8pTerm>(spec_, state_.scales, state_.codes);
  }
  E8pSearch search() const { return E8pSearch(spec_, state_.scales, in_ / kE8Size); }
  torch::Tensor dense(const LdlqState& state) const {
    return e8p_decode(spec_, state.scales, state.codes);
  }

  // A row's scales: its root mean square times sizes that are the same for all rows.
  torch::Tensor start_scales() const {
    const auto rms = weight_.square().mean(1).sqrt();
    return round_to_fp16(rms.unsqueeze(1) * best_sizes(rms));
  }

  // [stages]: those of a grid that leave the least error in a sample of rows with a root mean
  // square of one. First how large the second stage is beside the first one, then both.
  torch::Tensor best_sizes(const torch::Tensor& rms) const {
    constexpr int64_t kSample = 1024;
    const auto rows = (rms > 0).nonzero().squeeze(1);
    if (rows.numel() == 0) return torch::ones({spec_.stages()});
    const auto groups = (weight_.index_select(0, rows) / rms.index_select(0, rows).unsqueeze(1))
                            .reshape({-1, kE8Size});
    const int64_t step = std::max<int64_t>(1, groups.size(0) / kSample);
    const auto sample = groups.slice(0, 0, groups.size(0), step).contiguous();
    const auto sizes_of = [&](double first, double ratio) {
      auto sizes = torch::full({spec_.stages()}, first);
      if (spec_.stages() == 2) sizes[1] = first * ratio;
      return sizes;
    };
    const auto error_of = [&](const torch::Tensor& sizes) {
      const auto scales = sizes.expand({sample.size(0), spec_.stages()}).contiguous();
      E8pSearch search(spec_, scales, /*per_row=*/1);
      const auto none = torch::zeros({sample.size(0), spec_.stages()}, torch::kInt);
      const auto codes = search_code_groups(search, {}, none, sample, {}, {});
      return (sample - e8p_decode(spec_, scales, codes)).square().sum().item<double>();
    };
    // The value of a grid with the least error.
    const auto best_of = [](double first, double last, const auto& error) {
      constexpr int kSteps = 11;
      double best = first, least = error(first);
      for (int i = 1; i <= kSteps; ++i) {
        const double value = first + (last - first) * i / kSteps;
        const double reached = error(value);
        if (!(reached < least)) continue;
        least = reached;
        best = value;
      }
      return best;
    };
    // What the first stage leaves is about 0.27 large in the lattice's units, the root of E8's
    // second moment; the points of the second one are 0.5 (e8p3) or 1.1 (e8p4).
    const double ratio = spec_.stages() == 1 ? 0 : best_of(0.15, 0.7, [&](double r) {
      return error_of(sizes_of(1, r));
    });
    return sizes_of(best_of(0.7, 1.25, [&](double s) { return error_of(sizes_of(s, ratio)); }),
                    ratio);
  }

  torch::Tensor best_codes(const Objective& objective) const {
    auto search = this->search();
    const auto weight = objective.separable() ? torch::Tensor() : dense(state_);
    return search_code_groups(search, weight, state_.codes, weight_, objective, {});
  }

  // Stage after stage, each for what the other leaves.
  torch::Tensor best_scales() const {
    auto scales = state_.scales.clone();
    for (int stage = 0; stage < spec_.stages(); ++stage) {
      const auto values = e8p_stage_values(spec_, stage, state_.codes, out_);
      const auto own = scales.select(1, stage);
      const auto others = dense({scales, state_.codes}) - values * own.unsqueeze(1);
      const auto found = solve_scales(weight_ - others, objective_, values, own, kScaleIterations);
      scales.select(1, stage).copy_(round_to_fp16(found));
    }
    return scales;
  }

  // The rows that are better than they were.
  void accept(const LdlqState& candidate) {
    const auto better = errors_.keep_better(dense(candidate));
    state_.scales = torch::where(better.unsqueeze(1), candidate.scales, state_.scales);
    const auto of_groups = better.repeat_interleave(in_ / kE8Size).unsqueeze(1);
    state_.codes = torch::where(of_groups, candidate.codes, state_.codes);
  }

  torch::Tensor weight_;
  Objective objective_;
  E8pSpec spec_;
  QuantizeOptions options_;
  int64_t out_, in_;
  LdlqState state_;
  RowErrors errors_;  // of state_
};

}  // namespace

std::unique_ptr<CodedTerm> one_shot(const torch::Tensor& weight, const Objective& objective,
                                    const E8pSpec& spec, const QuantizeOptions& options,
                                    std::vector<StageReport>& stages) {
  return Ldlq(weight, objective, spec, options).run(stages);
}

std::unique_ptr<CodedTerm> round_to_nearest(const torch::Tensor& weight, const E8pSpec& spec,
                                            const QuantizeOptions& options) {
  return Ldlq(weight, {}, spec, options).nearest();
}

std::string output_factor_obstacle(const E8pSpec&, const QuantizeOptions& options) {
  return options.max_rounds > 0 ? "" : "ldlq needs rounds for it, and there are none";
}

}  // namespace bitsmith
