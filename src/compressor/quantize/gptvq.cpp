#include <cmath>

#include "base/error.h"
#include "compressor/objective/inverse_factor.h"
#include "compressor/objective/row_products.h"
#include "compressor/quantize/gvq_initial_codebooks.h"
#include "compressor/quantize/gvq_solve.h"
#include "compressor/quantize/methods.h"
#include "compressor/quantize/stage_reports.h"
#include "compressor/representation/format_parts.h"
#include "compressor/representation/kinds/gvq.h"
#include "compressor/representation/kinds/gvq_block_search.h"
#include "compressor/representation/kinds/gvq_dequantize.h"
#include "compressor/representation/kinds/gvq_search.h"

namespace bitsmith {
namespace {

constexpr int kLocalIterations = 6;  // of conjugate gradients on one column group
constexpr int kWholeIterations = 4;  // on the whole matrix, a round

// [out, columns] of the matrix, or the whole, with the values that the file holds.
struct GptvqState {
  torch::Tensor centroids;    // [strips, column groups, K, D]
  torch::Tensor codes;        // [n, 1] int32
  torch::Tensor scale_codes;  // [out, columns / S] int32; undefined without -s
  torch::Tensor scale_grid;   // [strips, column groups, 2]

  // [out, columns / S] or undefined.
  torch::Tensor scales(const GvqLayout& layout) const {
    return scale_codes.defined() ? gvq_block_scales(layout, scale_codes, scale_grid)
                                 : torch::Tensor();
  }
  torch::Tensor decode(const GvqLayout& layout) const {
    return gvq_decode(layout, centroids, codes, scales(layout));
  }
};

struct BlockScales {
  torch::Tensor codes;  // [out, columns / S] int32
  torch::Tensor grid;   // [strips, 1, 2]
};

// 4-bit logarithmic scales (GPTVQ, appendix I): log2 of the largest magnitude of each block,
// between the smallest and the largest of the tile. Blocks of zeros take the smallest.
BlockScales block_scales(const torch::Tensor& weight, const GvqLayout& layout, int64_t size) {
  const int64_t out = weight.size(0), blocks = weight.size(1) / size;
  const auto largest = weight.reshape({out, blocks, size}).abs().amax(2);
  auto grid = torch::zeros({layout.strips, 1, 2}, torch::kFloat);
  auto codes = torch::zeros({out, blocks}, torch::kInt);
  for (int64_t strip = 0; strip < layout.strips; ++strip) {
    const int64_t first = strip * layout.tile_rows, rows = std::min(layout.tile_rows, out - first);
    const auto own = largest.narrow(0, first, rows);
    const auto positive = own > 1e-30;
    if (!positive.any().item<bool>()) continue;
    const auto logs = torch::log2(own.clamp_min(1e-30));
    const double high = logs.max().item<double>();
    const double low =
        torch::where(positive, logs, torch::full_like(logs, high)).min().item<double>();
    const auto line = round_to_fp16(torch::tensor({low, (high - low) / 15}, torch::kFloat));
    grid[strip][0].copy_(line);
    const double step = line[1].item<double>();
    if (step <= 0) continue;
    const auto code = ((logs - line[0]) / step).round().clamp(0, 15);
    codes.narrow(0, first, rows).copy_(code);
  }
  return {codes, grid};
}

// A block's codes side by side, as GvqBlockSearch has them, and apart again.
torch::Tensor block_codes(const GptvqState& state) {
  const auto scale_codes = state.scale_codes.reshape({-1, 1});
  return torch::cat({scale_codes, state.codes.reshape({scale_codes.size(0), -1})}, 1);
}
GptvqState with_block_codes(GptvqState state, const torch::Tensor& codes) {
  state.scale_codes = codes.select(1, 0).reshape(state.scale_codes.sizes()).contiguous();
  state.codes = codes.narrow(1, 1, codes.size(1) - 1).reshape({-1, 1}).contiguous();
  return state;
}

// U^-1 in float64.
torch::Tensor upper_inverse(const torch::Tensor& upper) {
  auto lower = upper.t().to(torch::kDouble).contiguous();
  invert_lower_(lower);
  return lower.t().contiguous();
}

class Gptvq {
 public:
  Gptvq(const torch::Tensor& weight, const Objective& objective, const GvqSpec& spec,
        const QuantizeOptions& options, std::vector<StageReport>& stages)
      : weight_(weight),
        objective_(with_hessian(objective, weight.size(1))),
        spec_(spec),
        options_(options),
        out_(weight.size(0)),
        in_(weight.size(1)),
        layout_(gvq_layout(spec, out_, in_)),
        stages_(stages, weight_, objective_) {}

  std::unique_ptr<CodedTerm> run() {
    if (objective_.joins_rows() && !(options_.codebook_update && options_.max_rounds > 0)) {
      throw Error(
          "the sweep of gptvq knows of a full output factor its diagonal only: it needs rounds of "
          "codebooks and codes after it");
    }
    sweep();
    strip_errors_ = strip_errors(state_);
    error_ = strip_errors_.sum().item<double>();
    stages_.add("sweep", error_);
    if (options_.codebook_update) refine();
    GvqTensors tensors{state_.centroids, {}, {}, {}, {}};
    if (spec_.rank > 0) reduce_rank(tensors);
    tensors.codes = state_.codes;
    tensors.block_scale_codes = state_.scale_codes;
    tensors.block_scale_grid = state_.scale_grid;
    auto result = std::make_unique<GvqTerm>(spec_, out_, in_, tensors);
    result->project();
    return result;
  }

 private:
  static Objective with_hessian(Objective objective, int64_t in) {
    objective.hessian = objective.dense_hessian(in);
    return objective;
  }
  int64_t tile_codes() const { return layout_.codes_per_tile_row(); }

  // Column group after column group: its codebooks from the weights as they should now be, its
  // codes with error feedback, then what it leaves to the column groups that follow.
  void sweep() {
    const auto factor = objective_.factor(in_, options_.damping);
    auto wanted = weight_.clone();
    std::vector<torch::Tensor> centroids, codes, scale_codes, scale_grids;
    for (int64_t g = 0; g < layout_.column_groups; ++g) {
      check_cancelled(options_.cancel);
      const int64_t begin = g * layout_.tile_columns, end = begin + layout_.tile_columns;
      const auto own =
          factor.narrow(0, begin, layout_.tile_columns).narrow(1, begin, layout_.tile_columns);
      const auto target = wanted.narrow(1, begin, layout_.tile_columns).contiguous();
      const GptvqState best = quantize_column_group(target, own.contiguous(), g);
      centroids.push_back(best.centroids);
      codes.push_back(best.codes.reshape({out_, tile_codes()}));
      if (best.scale_codes.defined()) {
        scale_codes.push_back(best.scale_codes);
        scale_grids.push_back(best.scale_grid);
      }
      if (end == in_) break;
      const auto left = target - best.decode(column_group_layout());
      const auto later = factor.narrow(0, begin, layout_.tile_columns).narrow(1, end, in_ - end);
      const auto spread =
          row_chunked_matmul(upper_inverse(own).to(torch::kFloat), later.contiguous());
      row_chunked_subtract(left, spread, wanted.narrow(1, end, in_ - end));
    }
    state_.centroids = torch::cat(centroids, 1).contiguous();
    state_.codes = torch::cat(codes, 1).reshape({-1, 1}).contiguous();
    if (scale_codes.empty()) return;
    state_.scale_codes = torch::cat(scale_codes, 1).contiguous();
    state_.scale_grid = torch::cat(scale_grids, 1).contiguous();
  }

  GvqLayout column_group_layout() const {
    return {layout_.tile_columns, 1, layout_.tile_rows, layout_.strips, layout_.vector_size};
  }

  // The column group as a small matrix of its own, whose Hessian (U^T U)^-1 is what its errors cost
  // once the later columns have made the best of them. Rows stand alone, each with its weight.
  GptvqState quantize_column_group(const torch::Tensor& target, const torch::Tensor& factor,
                                   int64_t g) const {
    const GvqLayout layout = column_group_layout();
    const int64_t d = layout.vector_size, places = tile_codes();
    const auto inverse = upper_inverse(factor);
    Objective objective(row_chunked_matmul(inverse, inverse.t().contiguous()).to(torch::kFloat));
    objective.output_factor = objective_.row_weights();
    // What a vector's error costs, R_b R_b^T, R_b the diagonal block of R = U^-1.
    const auto diagonal =
        inverse.reshape({places, d, places, d}).diagonal(0, 0, 2).permute({2, 0, 1});
    const auto sub_hessians = torch::bmm(diagonal, diagonal.transpose(1, 2)).to(torch::kFloat);

    GptvqState state, best;
    torch::Tensor points = target, weights;
    if (spec_.scale_block > 0) {
      const int64_t size = spec_.scale_block;
      const BlockScales start = block_scales(target, layout, size);
      state.scale_codes = start.codes;
      state.scale_grid = start.grid;
      const auto scales = state.scales(layout);
      points = target / scales.repeat_interleave(size, 1);
      weights = scales.square().repeat_interleave(size / d, 1);
    }
    if (objective.output_factor.defined()) {
      const auto own = objective.output_factor.unsqueeze(1);
      weights = weights.defined() ? weights * own : own.expand({out_, places}).contiguous();
    }
    const InitialCodebooks initial =
        initial_codebooks(points, weights, sub_hessians.contiguous(), layout.tile_rows,
                          spec_.centroids(), options_.codebook_init, options_.em_iterations,
                          options_.seed * 1000003u + static_cast<uint64_t>(g));
    state.centroids = project_codebooks(file_spec(), initial.centroids);
    state.codes = initial.codes;
    double lowest = std::numeric_limits<double>::infinity();
    for (int round = 0; round <= options_.feedback_rounds; ++round) {
      state = search(layout, state, [&](CodeGroupSearch& groups, const torch::Tensor& codes) {
        return search_with_feedback(groups, codes, target, factor);
      });
      const double reached = objective.error(target - state.decode(layout), /*exact=*/false);
      if (reached < lowest) {
        lowest = reached;
        best = state;
      } else {
        break;
      }
      if (round == options_.feedback_rounds) break;
      const GvqProblem problem{target, objective, layout, state.codes, state.scales(layout)};
      state.centroids = project_codebooks(
          file_spec(), solve_centroids(problem, state.centroids, kLocalIterations));
    }
    return best;
  }

  // The state with the codes, scales' among them, that find(groups, codes) finds.
  template <typename Find>
  GptvqState search(const GvqLayout& layout, GptvqState state, const Find& find) const {
    if (spec_.scale_block == 0) {
      GvqSearch vectors(layout, state.centroids, {});
      state.codes = find(vectors, state.codes);
      return state;
    }
    GvqBlockSearch blocks(layout, state.centroids, state.scale_grid, spec_.scale_block);
    return with_block_codes(state, find(blocks, block_codes(state)));
  }
  // On the whole matrix.
  GptvqState search(const GptvqState& state) const {
    return search(layout_, state, [&](CodeGroupSearch& groups, const torch::Tensor& codes) {
      return search_code_groups(groups, state.decode(layout_), codes, weight_, objective_, {});
    });
  }

  // Rounds of codebooks and codes on the whole matrix, from which error feedback is no longer
  // needed: each vector sees all the others as they are.
  void refine() {
    for (int round = 1; round <= options_.max_rounds && error_ > 0; ++round) {
      check_cancelled(options_.cancel);
      const double before = error_;
      accept(with_centroids(project_codebooks(
                 file_spec(), solve_centroids(problem(), state_.centroids, kWholeIterations))),
             concat("round ", round, " codebooks"));
      accept(search(state_), concat("round ", round, " codes"));
      if (error_ > before * (1 - options_.tolerance)) break;
    }
  }

  // Codebooks of low rank, from free ones: sorted, decomposed, then coefficients, basis and the
  // codes in turn.
  void reduce_rank(GvqTensors& tensors) {
    const auto [sorted, order] = state_.centroids.sort(2);
    const auto places = order.argsort(2, /*descending=*/false)
                            .reshape({-1, spec_.centroids()});  // of each old centroid
    const auto code_groups = torch::arange(state_.codes.size(0), torch::kLong);
    const auto old = state_.codes.select(1, 0).to(torch::kLong);
    state_.codes = places.index({tile_of_code_groups(layout_, code_groups), old})
                       .to(torch::kInt)
                       .unsqueeze(1)
                       .contiguous();
    const auto projected = [&](const LowRankCodebooks& f) {
      return LowRankCodebooks{project_codebooks(spec_, f.coefficients), round_to_fp16(f.basis)};
    };
    LowRankCodebooks codebooks = projected(low_rank_codebooks(sorted.contiguous(), spec_.rank));
    const auto with = [&](const LowRankCodebooks& f) {
      return with_centroids(gvq_centroids(f.coefficients, f.basis).contiguous());
    };
    error_ = error(with(codebooks));
    stages_.restart();  // free codebooks reached less
    stages_.add("rank", error_);
    for (int round = 1; options_.codebook_update && round <= options_.max_rounds; ++round) {
      const double before = error_;
      const auto solved = projected(solve_low_rank(problem(), codebooks, kWholeIterations));
      const double reached = error(with(solved));
      if (reached < error_) {
        codebooks = solved;
        error_ = reached;
      }
      stages_.add(concat("rank round ", round, " codebooks"), error_);
      const auto found = search(with(codebooks));
      const double searched = error(found);
      if (searched < error_) {
        state_ = found;
        error_ = searched;
      }
      stages_.add(concat("rank round ", round, " codes"), error_);
      if (error_ > before * (1 - options_.tolerance)) break;
    }
    tensors.codebooks = codebooks.coefficients;
    tensors.basis = codebooks.basis;
  }

  // Codebooks of low rank are rounded only once they have it.
  GvqSpec file_spec() const {
    GvqSpec spec = spec_;
    spec.fp16_codebooks |= spec.rank > 0;
    return spec;
  }

  GvqProblem problem() const {
    return {weight_, objective_, layout_, state_.codes, state_.scales(layout_)};
  }
  GptvqState with_centroids(const torch::Tensor& centroids) const {
    GptvqState state = state_;
    state.centroids = centroids;
    return state;
  }

  double error(const GptvqState& state) const { return strip_errors(state).sum().item<double>(); }
  // Each strip's part of the error, [strips] float64.
  torch::Tensor strip_errors(const GptvqState& state) const {
    const auto rows = objective_.row_errors(weight_ - state.decode(layout_), /*exact=*/false);
    auto strips = torch::zeros({layout_.strips}, torch::kDouble);
    for (int64_t s = 0; s < layout_.strips; ++s) strips[s] = strip_rows(rows, s).sum();
    return strips;
  }
  torch::Tensor strip_rows(const torch::Tensor& rows, int64_t strip) const {
    const int64_t first = strip * layout_.tile_rows;
    return rows.narrow(0, first, std::min(layout_.tile_rows, out_ - first));
  }

  // The strips that are better than they were. Rounding to what the file holds can undo a small
  // gain.
  void accept(const GptvqState& candidate, const std::string& stage) {
    const auto reached = strip_errors(candidate);
    // Where strips meet it is all or none.
    const auto better = objective_.joins_rows()
                            ? (reached.sum() < strip_errors_.sum()).expand_as(reached).contiguous()
                            : reached < strip_errors_;
    state_.centroids =
        torch::where(better.reshape({-1, 1, 1, 1}), candidate.centroids, state_.centroids);
    const auto better_rows =
        better.repeat_interleave(layout_.tile_rows).narrow(0, 0, out_).unsqueeze(1);
    const auto by_row = [&](const torch::Tensor& codes) { return codes.reshape({out_, -1}); };
    state_.codes = torch::where(better_rows, by_row(candidate.codes), by_row(state_.codes))
                       .reshape({-1, 1})
                       .contiguous();
    if (state_.scale_codes.defined()) {
      state_.scale_codes = torch::where(better_rows, candidate.scale_codes, state_.scale_codes);
    }
    strip_errors_ = torch::where(better, reached, strip_errors_);
    error_ = strip_errors_.sum().item<double>();
    stages_.add(stage, error_);
  }

  torch::Tensor weight_;
  Objective objective_;  // its Hessian is defined
  GvqSpec spec_;
  QuantizeOptions options_;
  int64_t out_, in_;
  GvqLayout layout_;
  StageReports stages_;
  double error_ = 0;
  torch::Tensor strip_errors_;  // [strips] float64; their sum is error_
  GptvqState state_;
};

}  // namespace

std::unique_ptr<CodedTerm> one_shot(const torch::Tensor& weight, const Objective& objective,
                                    const GvqSpec& spec, const QuantizeOptions& options,
                                    std::vector<StageReport>& stages) {
  return Gptvq(weight, objective, spec, options, stages).run();
}

std::unique_ptr<CodedTerm> round_to_nearest(const torch::Tensor& weight, const GvqSpec& spec,
                                            const QuantizeOptions& options) {
  QuantizeOptions start_only = options;
  start_only.feedback_rounds = 0;
  start_only.codebook_update = false;
  std::vector<StageReport> without_hessian;  // another objective than the linear's
  return one_shot(weight, {}, spec, start_only, without_hessian);
}

std::string output_factor_obstacle(const GvqSpec&, const QuantizeOptions& options) {
  if (!options.codebook_update) return "gptvq needs its codebook updates for it";
  return options.max_rounds > 0 ? "" : "gptvq needs rounds for it, and there are none";
}

}  // namespace bitsmith
