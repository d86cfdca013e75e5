#include "compressor/budget/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/error.h"
#include "compressor/budget/judged_model.h"
#include "compressor/budget/ladder.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/quantize_model/block_stream.h"
#include "compressor/quantize_model/linear_hessians.h"
#include "compressor/quantize_model/outer_quantizer.h"
#include "tokenizer/special_tokens.h"

namespace bitsmith {
namespace {

constexpr int64_t kTokensAtOnce = 4096;

bool is_there(const BudgetUnit& unit, size_t candidate, Measurement wanted,
              const SensitivityRows& rows) {
  if (wanted == Measurement::kNone) return true;
  const SensitivityRow* row = rows.find(unit.name, to_string(unit.candidates[candidate]));
  return row && (row->kl || wanted == Measurement::kError);
}

bool is_complete(const BudgetUnit& unit, const std::vector<Measurement>& wanted,
                 const SensitivityRows& rows) {
  for (size_t c = 0; c < unit.candidates.size(); ++c)
    if (!is_there(unit, c, wanted[c], rows)) return false;
  return true;
}

// One unit on its way: what its matrices, which come one by one, have made of each candidate.
struct UnitSums {
  size_t matrices = 0;
  double energy = 0;                                          // of the original's outputs
  std::vector<double> errors;                                 // of each candidate
  std::vector<std::map<std::string, torch::Tensor>> weights;  // of those that the model runs with
};

class Sensitivity {
 public:
  Sensitivity(const std::shared_ptr<const ModelFiles>& files, const std::vector<BudgetUnit>& units,
              const MeasurementPlan& plan, const SensitivityData& data,
              const QuantizeModelOptions& options, SensitivityRows& rows, const RunContext& context)
      : files_(files),
        units_(units),
        plan_(plan),
        data_(data),
        options_(options),
        rows_(rows),
        context_(context),
        task_(context, "measuring"),
        model_(files, data.judged) {
    for (size_t u = 0; u < units_.size(); ++u) {
      if (!is_complete(u)) pending_work_ += work(u);
    }
  }

  void run() {
    std::map<std::string, size_t> unit_of;
    std::set<std::string> modules;
    for (size_t u = 0; u < units_.size(); ++u) {
      if (units_[u].block < 0 || is_complete(u)) continue;
      for (const LinearPlan& matrix : units_[u].matrices) {
        unit_of[matrix.name] = u;
        modules.insert(matrix.name);
      }
    }
    RunContext quiet = context_;
    quiet.progress = nullptr;  // this task's is shown
    if (!modules.empty()) {
      try {
        each_linear_hessian(
            files_, data_.calibration, torch::kFloat32, modules,
            [&](const Linear& linear, const torch::Tensor& hessian) {
              add(unit_of.at(linear.name), linear, hessian);
            },
            quiet);
      } catch (const Interrupted&) {
        stop_if_cancelled();
        throw;
      }
    }
    measure_outer();
  }

 private:
  bool is_there(size_t u, size_t candidate) const {
    return bitsmith::is_there(units_[u], candidate, plan_[u][candidate], rows_);
  }
  bool is_complete(size_t u) const { return bitsmith::is_complete(units_[u], plan_[u], rows_); }

  // About what a unit takes, for the progress line: weights times the tokens that pass them.
  double work(size_t u) const {
    constexpr double kTokensACandidate = 50'000;  // that pass a weight while it is quantized
    const ModelPlan& model = files_->plan();
    const auto made =
        static_cast<double>(std::count_if(plan_[u].begin(), plan_[u].end(), [](Measurement wanted) {
          return wanted != Measurement::kNone;
        }));
    const auto passes =
        static_cast<double>(std::count(plan_[u].begin(), plan_[u].end(), Measurement::kKl));
    int64_t passed = model.vocab_size * model.hidden_size;
    for (auto b = static_cast<size_t>(std::max<int64_t>(units_[u].block, 0));
         b < model.blocks.size(); ++b) {
      for (const LinearPlan* linear : linears(model.blocks[b]))
        passed += linear->out_features * linear->in_features;
    }
    return made * kTokensACandidate * static_cast<double>(weights(units_[u])) +
           passes * static_cast<double>(passed) * static_cast<double>(data_.judged.numel());
  }
  void stop_if_cancelled() const {
    if (context_.cancelled())
      throw Interrupted(concat("stopped after measuring ", done_, " of ", units_.size(),
                               " groups of matrices; what was measured is kept, and the same "
                               "command goes on from there"));
  }
  void finish(size_t u) {
    ++done_;
    done_work_ += work(u);
    task_.update(std::min(1.0, done_work_ / pending_work_), units_[u].name);
    stop_if_cancelled();
  }
  void report(const BudgetUnit& unit, size_t candidate, double error, std::optional<double> kl) {
    if (kl && !std::isfinite(*kl))
      throw Error(concat("the model's logits are not finite with ", unit.name, " as ",
                         to_string(unit.candidates[candidate]),
                         ": leave that candidate out by --candidates"));
    rows_.add({unit.name, to_string(unit.candidates[candidate]), error, kl});
  }

  void add(size_t u, const Linear& linear, const torch::Tensor& hessian) {
    stop_if_cancelled();
    const BudgetUnit& unit = units_[u];
    UnitSums& sums = sums_[u];
    sums.errors.resize(unit.candidates.size());
    sums.weights.resize(unit.candidates.size());
    const Objective objective(hessian);
    const double energy = objective.error(linear.weight);
    for (size_t c = 0; c < unit.candidates.size(); ++c) {
      if (is_there(u, c)) continue;
      QuantizeOptions own = quick_options(options_.linear);
      own.method = method_for(unit.candidates[c], options_);
      own.cancel = context_.cancel;
      try {
        const QuantizedLinear quantized =
            quantize_linear(linear.weight, objective, unit.candidates[c], own);
        sums.errors[c] += quantized.relative_error * energy;
        if (plan_[u][c] == Measurement::kKl)
          sums.weights[c][linear.name] = quantized.representation->dequantize();
      } catch (const Interrupted&) {
        stop_if_cancelled();
        throw;
      } catch (const Error& error) {
        throw Error(concat(linear.name, ": ", error.what()));
      }
    }
    sums.energy += energy;
    if (++sums.matrices < unit.matrices.size()) return;
    for (size_t c = 0; c < unit.candidates.size(); ++c) {
      if (is_there(u, c)) continue;
      std::optional<double> kl;
      if (plan_[u][c] == Measurement::kKl) kl = model_.kl_of_block(unit.block, sums.weights[c]);
      report(unit, c, sums.energy > 0 ? sums.errors[c] / sums.energy : 0, kl);
      stop_if_cancelled();
    }
    sums_.erase(u);
    finish(u);
  }

  // Embedding and head, in their own objective (outer_quantizer.h).
  void measure_outer() {
    torch::Tensor final_states;  // their Hessian
    std::vector<int64_t> specials;
    for (size_t u = 0; u < units_.size(); ++u) {
      const BudgetUnit& unit = units_[u];
      if (unit.block >= 0 || is_complete(u)) continue;
      if (!final_states.defined()) {
        final_states = final_states_hessian();
        specials = special_tokens(files_->checkpoint());
      }
      for (size_t c = 0; c < unit.candidates.size(); ++c) {
        if (is_there(u, c)) continue;
        stop_if_cancelled();
        const QuantizedModules made =
            quantized_outer(unit, unit.candidates[c], final_states, specials);
        const torch::Tensor weight =
            decode_matrix(made.matrices.at(unit.matrices[0].name), torch::kFloat32);
        report(unit, c, made.linears.back().relative_error,
               model_.kl_of_outer(unit.matrices[0].name, weight));
      }
      finish(u);
    }
  }
  torch::Tensor final_states_hessian() {
    Decoder& decoder = model_.decoder();
    const RotaryTables rotary = decoder.rotary(data_.calibration.size(1));
    torch::Tensor x = decoder.embed(data_.calibration);
    for (const std::shared_ptr<Block>& block : decoder.blocks()) {
      each_window_chunk(
          x, kTokensAtOnce, [&](double) { stop_if_cancelled(); },
          [&](int64_t first, int64_t count) {
            const torch::Tensor chunk = x.narrow(0, first, count);
            chunk.copy_(decoder.run_block(*block, chunk, rotary));
          });
    }
    return final_hessian(decoder, x, kTokensAtOnce, [&](double) { stop_if_cancelled(); });
  }
  QuantizedModules quantized_outer(const BudgetUnit& unit, const RepresentationSpec& spec,
                                   const torch::Tensor& final_states,
                                   const std::vector<int64_t>& specials) const {
    const LinearPlan& shape = unit.matrices[0];
    QuantizationPlan plan;
    plan.special_tokens = specials;
    plan.matrices[shape.name] = {
        shape,
        with_special_tokens(spec, shape.out_features, shape.in_features, std::ssize(specials)),
        method_for(spec, options_)};
    QuantizeModelOptions own = options_;
    own.linear = quick_options(options_.linear);
    const OuterQuantizer outer(*files_, plan, own, data_.calibration, context_);
    try {
      return outer.quantize({shape}, final_states, {});
    } catch (const Interrupted&) {
      stop_if_cancelled();
      throw;
    }
  }

  const std::shared_ptr<const ModelFiles>& files_;
  const std::vector<BudgetUnit>& units_;
  const MeasurementPlan& plan_;
  const SensitivityData& data_;
  const QuantizeModelOptions& options_;
  SensitivityRows& rows_;
  const RunContext& context_;
  ReportedTask task_;
  JudgedModel model_;
  std::map<size_t, UnitSums> sums_;  // of units whose matrices come just now
  int64_t done_ = 0;
  double done_work_ = 0, pending_work_ = 0;
};

}  // namespace

SensitivityTokens sensitivity_tokens(int64_t length, int64_t windows) {
  constexpr int64_t kCalibrationTokens = 16384, kLongest = 256;
  return {std::max<int64_t>(1, kCalibrationTokens / length) * length,
          windows * std::min(length, kLongest)};
}

SensitivityData sensitivity_data(const TokenDataset& data, int64_t windows) {
  const int64_t length = data.train.size(1);
  const SensitivityTokens tokens = sensitivity_tokens(length, windows);
  const int64_t calibration = std::min(tokens.calibration / length, data.train.size(0));
  const torch::Tensor last = data.train.flip(0);
  const torch::Tensor pool =
      data.validation.numel() > 0 ? torch::cat({data.validation, last}) : last;
  return {data.train.narrow(0, 0, calibration).contiguous(),
          pool.narrow(0, 0, std::min(windows, pool.size(0)))
              .narrow(1, 0, tokens.judged / windows)
              .contiguous()};
}

QuantizeOptions quick_options(const QuantizeOptions& options) {
  constexpr int kRounds = 1, kKmeansIterations = 8;
  QuantizeOptions quick = options;
  quick.max_rounds = std::min(options.max_rounds, kRounds);
  quick.kmeans_iterations = std::min(options.kmeans_iterations, kKmeansIterations);
  return quick;
}

bool all_measured(const std::vector<BudgetUnit>& units, const MeasurementPlan& plan,
                  const SensitivityRows& rows) {
  for (size_t u = 0; u < units.size(); ++u)
    if (!is_complete(units[u], plan[u], rows)) return false;
  return true;
}

void measure_sensitivity(const std::shared_ptr<const ModelFiles>& files,
                         const std::vector<BudgetUnit>& units, const MeasurementPlan& plan,
                         const SensitivityData& data, const QuantizeModelOptions& options,
                         SensitivityRows& rows, const RunContext& context) {
  if (all_measured(units, plan, rows)) return;
  const torch::NoGradGuard no_grad;
  Sensitivity(files, units, plan, data, options, rows, context).run();
}

std::vector<AllocationUnit> allocation_units(const std::vector<BudgetUnit>& units,
                                             const MeasurementPlan& plan,
                                             const SensitivityRows& rows) {
  std::vector<std::vector<std::optional<double>>> errors(units.size()), kl(units.size());
  for (size_t u = 0; u < units.size(); ++u) {
    for (size_t c = 0; c < units[u].candidates.size(); ++c) {
      const SensitivityRow* row = rows.find(units[u].name, to_string(units[u].candidates[c]));
      const Measurement wanted = plan[u][c];
      BITSMITH_CHECK(row || wanted == Measurement::kNone);
      errors[u].push_back(wanted == Measurement::kNone ? std::nullopt
                                                       : std::optional(row->relative_error));
      kl[u].push_back(wanted == Measurement::kKl ? row->kl : std::nullopt);
    }
  }
  for (const std::vector<size_t>& family : like_units(units)) {
    std::vector<std::vector<std::optional<double>>> own;
    for (const size_t u : family) own.push_back(errors[u]);
    const auto completed = completed_ladders(own);
    for (size_t i = 0; i < family.size(); ++i)
      errors[family[i]].assign(completed[i].begin(), completed[i].end());
  }
  std::vector<AllocationUnit> allocation;
  for (size_t u = 0; u < units.size(); ++u) {
    std::vector<double> all;
    for (const std::optional<double>& error : errors[u]) all.push_back(error.value());
    allocation.push_back({units[u].bytes, interpolated_kl(all, kl[u])});
  }
  return allocation;
}

}  // namespace bitsmith
