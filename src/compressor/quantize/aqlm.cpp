#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "compressor/objective/inverse_factor.h"
#include "compressor/quantize/additive_initial_codebooks.h"
#include "compressor/quantize/additive_solve.h"
#include "compressor/quantize/gvq_initial_codebooks.h"
#include "compressor/quantize/methods.h"
#include "compressor/quantize/stage_reports.h"
#include "compressor/representation/format_parts.h"
#include "compressor/representation/kinds/additive.h"
#include "compressor/representation/kinds/additive_dequantize.h"
#include "compressor/representation/kinds/additive_search.h"

namespace bitsmith {
namespace {

constexpr int kSolverIterations = 8;  // of conjugate gradients a round; the next goes on from there

// Codebooks and scales are always values that the file can hold, so that every objective reported
// is the file's.
struct AqlmState {
  torch::Tensor codebooks, scales, codes;
  GroupScales group_scales;

  torch::Tensor all_scales() const { return combined_scales(scales, group_scales); }
  torch::Tensor dense() const { return additive_decode(codebooks, all_scales(), codes); }
};

class Aqlm {
 public:
  Aqlm(const torch::Tensor& weight, const Objective& objective, const AdditiveSpec& spec,
       const QuantizeOptions& options, std::vector<StageReport>& stages)
      : weight_(weight),
        objective_(objective),
        spec_(spec),
        options_(options),
        stages_(stages, weight, objective) {}

  std::unique_ptr<CodedTerm> run() {
    if (objective_.joins_rows() && options_.max_rounds == 0) {
      throw Error(
          "the start of aqlm knows of a full output factor its diagonal only: it needs rounds of "
          "codes and codebooks after it");
    }
    state_ = start();
    error_ = error(state_);
    stages_.add("start", error_);
    for (int round = 1; round <= options_.max_rounds && error_ > 0; ++round) {
      check_cancelled(options_.cancel);
      const double before = error_;
      const bool feedback = round == 1 && objective_.hessian.defined();
      const auto codes =
          feedback ? with_best_codes(with_feedback(state_)) : with_best_codes(state_);
      accept(codes, concat("round ", round, " codes"));
      if (spec_.scale_bits > 0) {
        accept(with_best_group_scales(state_), concat("round ", round, " group scales"));
      }
      accept(with_best_codebooks(state_), concat("round ", round, " codebooks"));
      if (error_ > before * (1 - options_.tolerance)) break;
    }
    if (options_.max_rounds > 0) accept(with_best_codes(state_), "last codes");
    return std::make_unique<AdditiveTerm>(spec_, state_.codebooks, state_.scales, state_.codes,
                                          state_.group_scales);
  }

 private:
  // Rows divided by their root mean square, then k-means. fp16 has few digits below 6e-5, so a
  // power of two moves half of a tiny or huge scale into the codebooks.
  AqlmState start() {
    const auto rms = weight_.square().mean(1).sqrt();
    const double typical = rms.mean().item<double>();
    const double unit = typical > 0 ? std::exp2(std::round(std::log2(typical) / 2)) : 1.0;
    const auto scales = round_to_fp16(torch::where(rms > 0, rms / unit, torch::ones_like(rms)));
    const auto safe = torch::where(scales > 0, scales, torch::ones_like(scales));
    const GroupScales groups = start_group_scales(safe);
    const auto all = combined_scales(safe, groups);
    const auto divisors =
        all.dim() == 1 ? all.unsqueeze(1) : all.repeat_interleave(spec_.in_group_size, 1);
    const auto& hessian = objective_.hessian;
    auto weights = hessian.defined() ? hessian.diagonal().clone()
                                     : torch::ones({weight_.size(1)}, torch::kFloat);
    // Inputs hardly ever active still get sensible weights.
    const double mean = weights.mean().item<double>();
    weights = weights.clamp_min(mean > 0 ? 1e-4 * mean : 1.0);
    weights = weights / weights.mean();
    Random random(options_.seed);
    const auto start =
        residual_kmeans(weight_ / divisors, with_row_weights(combined_scales(scales, groups)),
                        weights, spec_, options_.kmeans_iterations, random);
    return {round_to_fp16(start.codebooks), scales, start.codes, groups};
  }

  // Scales as they count in a sum over rows, each with its weight.
  torch::Tensor with_row_weights(const torch::Tensor& scales) const {
    auto own = objective_.row_weights();
    if (!own.defined()) return scales;
    const double mean = own.mean().item<double>();
    own = own.clamp_min(mean > 0 ? 1e-4 * mean : 1.0).sqrt();
    return scales * (scales.dim() == 1 ? own : own.unsqueeze(1));
  }

  // Each group's root mean square in units of its row's, the nearest of 2^S values: the best ones
  // for a sample.
  GroupScales start_group_scales(const torch::Tensor& row_scales) const {
    if (spec_.scale_bits == 0) return {};
    constexpr int64_t kSample = 16384;
    const int64_t count = int64_t{1} << spec_.scale_bits, out = weight_.size(0);
    const auto sizes = (weight_ / row_scales.unsqueeze(1))
                           .reshape({out, -1, spec_.in_group_size})
                           .square()
                           .mean(2)
                           .sqrt();
    const auto flat = sizes.flatten();
    const int64_t step = std::max<int64_t>(1, flat.size(0) / kSample);
    const auto sample =
        std::get<0>(flat.slice(0, 0, flat.size(0), step).to(torch::kDouble).sort()).contiguous();
    const auto* first = sample.const_data_ptr<double>();
    const std::vector<double> x(first, first + sample.size(0)), ones(x.size(), 1.0);
    const auto runs = optimal_runs(x, ones, count);
    auto values = torch::empty({count}, torch::kFloat);
    for (int64_t k = 0; k < count; ++k) {
      const auto end = k + 1 < count ? runs[k + 1] : sample.size(0);
      values[k] = end > runs[k] ? sample.slice(0, runs[k], end).mean().item<double>() : 1.0;
    }
    values = round_to_fp16(values);
    values = torch::where(values > 0, values, torch::ones_like(values));
    const auto nearest = (sizes.unsqueeze(2) - values).abs().argmin(2).to(torch::kInt);
    return {values, nearest.contiguous()};
  }

  // One pass with error feedback finds codes that coordinate descent from the start does not reach
  // (a fifth to a third less error at three codebooks). Groups of strongly active inputs go first,
  // while most others are still free to make up for their errors. It takes rows one by one,
  // whatever G.
  AqlmState with_feedback(const AqlmState& from) const {
    const auto& hessian = objective_.hessian;
    const int64_t g = spec_.in_group_size, per_row = weight_.size(1) / g;
    const auto activity = hessian.diagonal().reshape({per_row, g}).sum(1);
    const auto order = std::get<1>(activity.sort(/*stable=*/true, 0, /*descending=*/true));
    const auto inputs = (order.unsqueeze(1) * g + torch::arange(g)).reshape({-1});
    const auto permuted = hessian.index_select(0, inputs).index_select(1, inputs);
    const std::vector<int64_t> shape = {weight_.size(0), per_row, spec_.num_codebooks};
    const auto reorder = [&](const torch::Tensor& codes, const torch::Tensor& groups) {
      return codes.reshape(shape).index_select(1, groups).reshape({-1, spec_.num_codebooks});
    };
    const auto scales = from.all_scales();
    AdditiveSearch search(from.codebooks,
                          scales.dim() == 1 ? scales : scales.index_select(1, order), per_row,
                          options_.beam);
    const auto codes =
        search_with_feedback(search, reorder(from.codes, order), weight_.index_select(1, inputs),
                             inverse_factor(permuted, options_.damping));
    return {from.codebooks, from.scales, reorder(codes, order.argsort()), from.group_scales};
  }

  AqlmState with_best_codes(const AqlmState& from) const {
    AdditiveSearch search(from.codebooks, from.all_scales(), weight_.size(1) / spec_.in_group_size,
                          options_.beam);
    return {from.codebooks, from.scales,
            search_code_groups(search, from.dense(), from.codes, weight_, objective_, {}),
            from.group_scales};
  }

  // Which value each group has, by coordinate descent, then the values.
  AqlmState with_best_group_scales(const AqlmState& from) const {
    const auto unscaled = additive_decode(from.codebooks, from.scales, from.codes);
    GroupScaleSearch search(unscaled, from.group_scales.values, spec_.in_group_size);
    GroupScales found = from.group_scales;
    found.codes = search_code_groups(search, from.dense(), found.codes.reshape({-1, 1}), weight_,
                                     objective_, {})
                      .reshape(found.codes.sizes());
    found.values = round_to_fp16(
        solve_group_scale_values(weight_, objective_, unscaled, found, kSolverIterations));
    return {from.codebooks, from.scales, from.codes, found};
  }

  AqlmState with_best_codebooks(const AqlmState& from) const {
    const auto codebooks = round_to_fp16(solve_codebooks(
        weight_, objective_, from.codebooks, from.all_scales(), from.codes, kSolverIterations));
    const auto ones = combined_scales(torch::ones_like(from.scales), from.group_scales);
    const auto unscaled = additive_decode(codebooks, ones, from.codes);
    const auto scales = solve_scales(weight_, objective_, unscaled, from.scales, kSolverIterations);
    return {codebooks, round_to_fp16(scales), from.codes, from.group_scales};
  }

  double error(const AqlmState& state) const {
    return objective_.error(weight_ - state.dense(), /*exact=*/false);
  }

  // Rounding to what the file holds can undo a small gain: then nothing changes.
  void accept(const AqlmState& candidate, const std::string& stage) {
    const double reached = error(candidate);
    if (reached < error_) {
      state_ = candidate;
      error_ = reached;
    }
    stages_.add(stage, error_);
  }

  torch::Tensor weight_;
  Objective objective_;
  AdditiveSpec spec_;
  QuantizeOptions options_;
  StageReports stages_;
  double error_ = 0;  // of state_
  AqlmState state_;
};

}  // namespace

std::unique_ptr<CodedTerm> one_shot(const torch::Tensor& weight, const Objective& objective,
                                    const AdditiveSpec& spec, const QuantizeOptions& options,
                                    std::vector<StageReport>& stages) {
  return Aqlm(weight, objective, spec, options, stages).run();
}

std::unique_ptr<CodedTerm> round_to_nearest(const torch::Tensor& weight, const AdditiveSpec& spec,
                                            const QuantizeOptions& options) {
  QuantizeOptions start_only = options;
  start_only.max_rounds = 0;
  std::vector<StageReport> without_hessian;  // another objective than the linear's
  return one_shot(weight, {}, spec, start_only, without_hessian);
}

std::string output_factor_obstacle(const AdditiveSpec&, const QuantizeOptions& options) {
  return options.max_rounds > 0 ? "" : "aqlm needs rounds for it, and there are none";
}

}  // namespace bitsmith
