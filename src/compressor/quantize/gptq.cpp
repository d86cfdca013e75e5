#include <algorithm>
#include <cmath>

#include "compressor/objective/inverse_factor.h"
#include "compressor/quantize/methods.h"
#include "compressor/quantize/row_errors.h"
#include "compressor/quantize/stage_reports.h"
#include "compressor/quantize/uniform_grid.h"
#include "compressor/quantize/uniform_grid_search.h"
#include "compressor/representation/kinds/uniform.h"
#include "compressor/representation/kinds/uniform_search.h"

namespace bitsmith {
namespace {

struct GptqState {
  UniformGrid grids;    // [out, groups]
  torch::Tensor codes;  // [out, in] int32
};

// The state of one sweep; columns are in the order of `order`.
class Sweep {
 public:
  // row_factor: of a full output factor G, G^-1 = U^T U; undefined: rows apart.
  Sweep(const torch::Tensor& weight, const torch::Tensor& factor, const torch::Tensor& row_factor,
        const torch::Tensor& order, const UniformSpec& spec)
      : spec_(spec),
        in_features_(weight.size(1)),
        size_(spec.group_size > 0 ? spec.group_size : in_features_),
        factor_(factor),
        row_factor_(row_factor),
        weight_(weight.index_select(1, order)),
        scales_(torch::zeros({weight.size(0), in_features_ / size_}, torch::kFloat)),
        zeros_(torch::zeros({weight.size(0), in_features_ / size_}, torch::kInt)),
        codes_(torch::zeros({weight.size(0), in_features_}, torch::kInt)),
        positions_(static_cast<size_t>(in_features_ / size_)),
        ready_(positions_.size(), false) {
    const auto* columns = order.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < in_features_; ++i) positions_[columns[i] / size_].push_back(i);
    columns_.assign(columns, columns + in_features_);
  }

  GptqState run() {
    for (int64_t begin = 0; begin < in_features_; begin += kPanelInputs) {
      const int64_t end = std::min(begin + kPanelInputs, in_features_);
      errors_ = torch::zeros({weight_.size(0), end - begin}, torch::kFloat);
      for (int64_t i = begin; i < end; ++i) quantize_column(begin, i, end);
      if (end == in_features_) break;
      const auto later = factor_.narrow(0, begin, end - begin).narrow(1, end, in_features_ - end);
      weight_.narrow(1, end, in_features_ - end).addmm_(errors_, later, 1, -1);
    }
    return {{scales_, zeros_}, codes_};
  }

 private:
  void quantize_column(int64_t begin, int64_t i, int64_t end) {
    const int64_t column = columns_[i], group = column / size_;
    if (!ready_[group]) choose_grid(group, begin, i, end);
    const UniformGrid grid{scales_.select(1, group), zeros_.select(1, group)};
    const auto w = weight_.select(1, i);
    const auto codes = row_factor_.defined()
                           ? codes_with_row_feedback(w, grid)
                           : uniform_codes(w.unsqueeze(1), grid, spec_.nbits).squeeze(1);
    codes_.select(1, column).copy_(codes);
    const auto diagonal = factor_.index({i, i});
    const auto error = (w - (codes - grid.zeros) * grid.scales) / diagonal;
    errors_.select(1, i - begin).copy_(error);
    if (i + 1 < end) {
      weight_.narrow(1, i + 1, end - i - 1)
          .addr_(error, factor_.select(0, i).narrow(0, i + 1, end - i - 1), 1, -1);
    }
  }

  // The codes of one column where rows meet: what a row's code leaves is spread over the rows after
  // it. Both feedbacks together lower tr(G D H D^T) greedily, weight after weight.
  torch::Tensor codes_with_row_feedback(const torch::Tensor& column,
                                        const UniformGrid& grid) const {
    auto wanted = column.contiguous().clone();
    const auto scales = grid.scales.contiguous(), zeros = grid.zeros.contiguous();
    auto codes = torch::empty({wanted.size(0)}, torch::kInt);
    const int64_t out = wanted.size(0);
    auto* w = wanted.mutable_data_ptr<float>();
    for (int64_t row = 0; row < out; ++row) {
      const float* factor = row_factor_.const_data_ptr<float>() + row * out;
      const float scale = scales.const_data_ptr<float>()[row];
      const int zero = zeros.const_data_ptr<int>()[row], largest = (1 << spec_.nbits) - 1;
      const float level =
          std::nearbyint(w[row] / (scale == 0 ? 1 : scale) + static_cast<float>(zero));
      const int code = static_cast<int>(std::clamp(level, 0.0f, static_cast<float>(largest)));
      codes.mutable_data_ptr<int>()[row] = code;
      const float error = (w[row] - scale * static_cast<float>(code - zero)) / factor[row];
      for (int64_t later = row + 1; later < out; ++later) w[later] -= error * factor[later];
    }
    return codes;
  }

  // From the present weights: none of the group's columns has been quantized yet, and all carry the
  // errors of the columns before, those beyond this sweep panel after a correction here. An input's
  // importance is what an error there costs once later columns have made the best of it: 1 /
  // U_ii^2.
  void choose_grid(int64_t group, int64_t begin, int64_t i, int64_t end) {
    const auto at = torch::tensor(positions_[group], torch::kLong);
    auto present = weight_.index_select(1, at);
    if (i > begin && positions_[group].back() >= end) {
      const auto later = factor_.narrow(0, begin, i - begin).index_select(1, at);
      const auto beyond = (at >= end).to(torch::kFloat);
      present = present - torch::matmul(errors_.narrow(1, 0, i - begin), later) * beyond;
    }
    const auto importance = factor_.diagonal().index_select(0, at).square().reciprocal();
    const auto grid = best_uniform_grid(present, importance / importance.mean(), spec_);
    scales_.select(1, group).copy_(grid.scales);
    zeros_.select(1, group).copy_(grid.zeros);
    ready_[group] = true;
  }

  UniformSpec spec_;
  int64_t in_features_, size_;
  torch::Tensor factor_, row_factor_, weight_, scales_, zeros_, codes_;
  torch::Tensor errors_;  // [out, panel], each column's rounding error over its U_ii
  std::vector<std::vector<int64_t>> positions_;  // of each group's columns in the order
  std::vector<bool> ready_;                      // group has its grid
  std::vector<int64_t> columns_;
};

class Gptq {
 public:
  Gptq(const torch::Tensor& weight, const Objective& objective, const UniformSpec& spec,
       const QuantizeOptions& options)
      : weight_(weight),
        objective_(objective),
        spec_(spec),
        options_(options),
        out_(weight.size(0)),
        in_(weight.size(1)),
        size_(spec.group_size > 0 ? spec.group_size : in_),
        errors_(weight, objective) {}

  std::unique_ptr<CodedTerm> run(std::vector<StageReport>& stages) {
    StageReports reports(stages, weight_, objective_);
    state_ = sweep();
    errors_.keep(dense(state_));
    reports.add("sweep", errors_.total());
    const Objective damped = this->damped();
    for (int round = 1; round <= options_.max_rounds && errors_.total() > 0; ++round) {
      check_cancelled(options_.cancel);
      const double before = errors_.total();
      accept({state_.grids, best_codes(damped)});
      reports.add(concat("round ", round, " codes"), errors_.total());
      accept({best_grids(damped), state_.codes});
      reports.add(concat("round ", round, " scales"), errors_.total());
      if (errors_.total() > before * (1 - options_.tolerance)) break;
    }
    return std::make_unique<UniformTerm>(spec_, state_.grids.scales, state_.grids.zeros,
                                         state_.codes);
  }

 private:
  GptqState sweep() const {
    const auto h = objective_.dense_hessian(in_);
    const auto order = options_.act_order ? std::get<1>(h.diagonal().sort(/*stable=*/true, 0, true))
                                          : torch::arange(in_, torch::kLong);
    auto permuted = h.index_select(0, order);
    permuted = permuted.index_select(1, order);
    const auto factor = inverse_factor(permuted, options_.damping);
    permuted.reset();
    // Weights of rows change no code: each row's cost is its own.
    const auto row_factor = objective_.joins_rows()
                                ? inverse_factor(objective_.output_factor, options_.damping)
                                : torch::Tensor();
    return Sweep(weight_, factor, row_factor, order, spec_).run();
  }

  // What the rounds lower: with the sweep's damping, so that inputs that are hardly ever active
  // do not make up for the errors of the others.
  Objective damped() const {
    Objective objective(objective_.dense_hessian(in_).clone());
    const auto diagonal = objective.hessian.diagonal();
    diagonal.add_(options_.damping * diagonal.mean());
    objective.output_factor = objective_.output_factor;
    return objective;
  }

  torch::Tensor dense(const GptqState& state) const {
    const auto levels = state.codes.reshape({out_, -1, size_}) - state.grids.zeros.unsqueeze(2);
    return (levels * state.grids.scales.unsqueeze(2)).reshape({out_, in_});
  }

  torch::Tensor best_codes(const Objective& objective) const {
    UniformSearch search(state_.grids.scales, state_.grids.zeros.to(torch::kFloat), size_,
                         spec_.nbits);
    return search_code_groups(search, dense(state_), state_.codes.reshape({-1, 1}), weight_,
                              objective, {})
        .reshape({out_, in_});
  }

  UniformGrid best_grids(const Objective& objective) const {
    UniformGridSearch search(state_.codes, size_, spec_);
    const auto found = search_code_groups(search, dense(state_), codes_of_grids(state_.grids),
                                          weight_, objective, {});
    return grids_of_codes(found, out_);
  }

  // The rows that are better than they were.
  void accept(const GptqState& candidate) {
    const auto better = errors_.keep_better(dense(candidate)).unsqueeze(1);
    const auto choose = [&](const torch::Tensor& now, torch::Tensor& kept) {
      kept = torch::where(better, now, kept);
    };
    choose(candidate.grids.scales, state_.grids.scales);
    choose(candidate.grids.zeros, state_.grids.zeros);
    choose(candidate.codes, state_.codes);
  }

  torch::Tensor weight_;
  Objective objective_;
  UniformSpec spec_;
  QuantizeOptions options_;
  int64_t out_, in_, size_;
  GptqState state_;
  RowErrors errors_;  // of state_
};

}  // namespace

std::unique_ptr<CodedTerm> one_shot(const torch::Tensor& weight, const Objective& objective,
                                    const UniformSpec& spec, const QuantizeOptions& options,
                                    std::vector<StageReport>& stages) {
  return Gptq(weight, objective, spec, options).run(stages);
}

std::string output_factor_obstacle(const UniformSpec&, const QuantizeOptions&) { return ""; }

}  // namespace bitsmith
