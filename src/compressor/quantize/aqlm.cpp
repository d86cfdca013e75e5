#include <chrono>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "compressor/quantize/codebook_solve.h"
#include "compressor/quantize/hessian.h"
#include "compressor/quantize/inverse_factor.h"
#include "compressor/quantize/kmeans.h"
#include "compressor/quantize/methods.h"
#include "compressor/representation/additive_dequantize.h"
#include "compressor/representation/additive_representation.h"
#include "compressor/representation/additive_search.h"
#include "compressor/representation/format_parts.h"

namespace bitsmith {
namespace {

constexpr int kSolverIterations = 8;  // of conjugate gradients a round; the next goes on from there

// Codebooks and scales are always values that the file can hold, so that every objective reported
// is the file's.
struct State {
  torch::Tensor codebooks, scales, codes;
};

class Aqlm {
 public:
  Aqlm(const torch::Tensor& weight, const torch::Tensor& hessian, const AdditiveSpec& spec,
       const QuantizeOptions& options, std::vector<StageReport>& stages)
      : weight_(weight), hessian_(hessian), spec_(spec), options_(options), stages_(stages) {
    total_ = quadratic_error(weight, hessian, /*exact=*/false);
  }

  std::unique_ptr<Representation> run() {
    state_ = start();
    objective_ = objective(state_);
    report("start");
    for (int round = 1; round <= options_.max_rounds && objective_ > 0; ++round) {
      if (interrupted()) throw Interrupted("quantisation was interrupted");
      const double before = objective_;
      const bool feedback = round == 1 && hessian_.defined();
      const auto codes =
          feedback ? with_best_codes(with_feedback(state_)) : with_best_codes(state_);
      accept(codes, concat("round ", round, " codes"));
      accept(with_best_codebooks(state_), concat("round ", round, " codebooks"));
      if (objective_ > before * (1 - options_.tolerance)) break;
    }
    if (options_.max_rounds > 0) accept(with_best_codes(state_), "last codes");
    return std::make_unique<AdditiveRepresentation>(spec_, state_.codebooks, state_.scales,
                                                    state_.codes);
  }

 private:
  // Rows divided by their root mean square, then k-means. fp16 has few digits below 6e-5, so a
  // power of two moves half of a tiny or huge scale into the codebooks.
  State start() {
    const auto rms = weight_.square().mean(1).sqrt();
    const double typical = rms.mean().item<double>();
    const double unit = typical > 0 ? std::exp2(std::round(std::log2(typical) / 2)) : 1.0;
    const auto scales = round_to_fp16(torch::where(rms > 0, rms / unit, torch::ones_like(rms)));
    const auto safe = torch::where(scales > 0, scales, torch::ones_like(scales));
    auto weights = hessian_.defined() ? hessian_.diagonal().clone()
                                      : torch::ones({weight_.size(1)}, torch::kFloat);
    // Inputs hardly ever active still get sensible weights.
    const double mean = weights.mean().item<double>();
    weights = weights.clamp_min(mean > 0 ? 1e-4 * mean : 1.0);
    weights = weights / weights.mean();
    Random random(options_.seed);
    const auto start = residual_kmeans(weight_ / safe.unsqueeze(1), scales, weights, spec_,
                                       options_.kmeans_iterations, random);
    return {round_to_fp16(start.codebooks), scales, start.codes};
  }

  // One pass with error feedback finds codes that coordinate descent from the start does not reach
  // (a fifth to a third less error at three codebooks). Groups of strongly active inputs go first,
  // while most others are still free to make up for their errors.
  State with_feedback(const State& from) const {
    const int64_t g = spec_.in_group_size, per_row = weight_.size(1) / g;
    const auto activity = hessian_.diagonal().reshape({per_row, g}).sum(1);
    const auto order = std::get<1>(activity.sort(/*stable=*/true, 0, /*descending=*/true));
    const auto inputs = (order.unsqueeze(1) * g + torch::arange(g)).reshape({-1});
    const auto permuted = hessian_.index_select(0, inputs).index_select(1, inputs);
    const std::vector<int64_t> shape = {weight_.size(0), per_row, spec_.num_codebooks};
    const auto reorder = [&](const torch::Tensor& codes, const torch::Tensor& groups) {
      return codes.reshape(shape).index_select(1, groups).reshape({-1, spec_.num_codebooks});
    };
    AdditiveSearch search(from.codebooks, from.scales, per_row, options_.beam);
    const auto codes =
        search_with_feedback(search, reorder(from.codes, order), weight_.index_select(1, inputs),
                             inverse_factor(permuted, options_.damping));
    return {from.codebooks, from.scales, reorder(codes, order.argsort())};
  }

  State with_best_codes(const State& from) const {
    AdditiveSearch search(from.codebooks, from.scales, weight_.size(1) / spec_.in_group_size,
                          options_.beam);
    const auto dense = additive_decode(from.codebooks, from.scales, from.codes);
    return {from.codebooks, from.scales,
            search_code_groups(search, dense, from.codes, weight_, {{}, hessian_}, {})};
  }

  State with_best_codebooks(const State& from) const {
    const auto codebooks = round_to_fp16(solve_codebooks(
        weight_, hessian_, from.codebooks, from.scales, from.codes, kSolverIterations));
    const auto scales = solve_scales(weight_, hessian_, codebooks, from.scales, from.codes);
    return {codebooks, round_to_fp16(scales), from.codes};
  }

  double objective(const State& state) const {
    const auto dense = additive_decode(state.codebooks, state.scales, state.codes);
    return quadratic_error(weight_ - dense, hessian_, /*exact=*/false);
  }

  // Rounding to what the file holds can undo a small gain: then nothing changes.
  void accept(const State& candidate, const std::string& stage) {
    const double reached = objective(candidate);
    if (reached < objective_) {
      state_ = candidate;
      objective_ = reached;
    }
    report(stage);
  }

  void report(const std::string& stage) {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - clock_).count();
    clock_ = now;
    stages_.push_back({stage, total_ > 0 ? objective_ / total_ : 0, seconds});
  }

  torch::Tensor weight_, hessian_;
  AdditiveSpec spec_;
  QuantizeOptions options_;
  std::vector<StageReport>& stages_;
  double total_, objective_ = 0;
  State state_;
  std::chrono::steady_clock::time_point clock_ = std::chrono::steady_clock::now();
};

}  // namespace

std::unique_ptr<Representation> aqlm(const torch::Tensor& weight, const torch::Tensor& hessian,
                                     const AdditiveSpec& spec, const QuantizeOptions& options,
                                     std::vector<StageReport>& stages) {
  return Aqlm(weight, hessian, spec, options, stages).run();
}

}  // namespace bitsmith
