#include "compressor/budget/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>

#include "base/error.h"
#include "compressor/budget/judged_model.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/quantize_model/block_stream.h"
#include "compressor/quantize_model/linear_hessians.h"
#include "compressor/quantize_model/outer_quantizer.h"
#include "tokenizer/special_tokens.h"

namespace bitsmith {
namespace {

constexpr int64_t kTokensAtOnce = 4096;

std::vector<bool> measured_of(const BudgetUnit& unit, int64_t measured) {
  return measured_candidates(unit.candidates.size(), measured, unit.block < 0);
}

bool is_there(const BudgetUnit& unit, size_t candidate, const std::vector<bool>& wanted,
              const SensitivityRows& rows) {
  const SensitivityRow* row = rows.find(unit.name, to_string(unit.candidates[candidate]));
  return row && (row->kl || !wanted[candidate]);
}

bool is_complete(const BudgetUnit& unit, int64_t measured, const SensitivityRows& rows) {
  const std::vector<bool> wanted = measured_of(unit, measured);
  for (size_t c = 0; c < unit.candidates.size(); ++c)
    if (!is_there(unit, c, wanted, rows)) return false;
  return true;
}

// One unit on its way: what its matrices, which come one by one, have made of each candidate.
struct UnitSums {
  size_t matrices = 0;
  double energy = 0;                                          // of the original's outputs
  std::vector<double> errors;                                 // of each candidate
  std::vector<std::map<std::string, torch::Tensor>> weights;  // of the measured ones
};

class Sensitivity {
 public:
  Sensitivity(const std::shared_ptr<const ModelFiles>& files, const std::vector<BudgetUnit>& units,
              const SensitivityData& data, const QuantizeModelOptions& options, int64_t measured,
              SensitivityRows& rows, const RunContext& context)
      : files_(files),
        units_(units),
        data_(data),
        options_(options),
        measured_(measured),
        rows_(rows),
        context_(context),
        task_(context, "measuring"),
        model_(files, data.judged) {
    for (const BudgetUnit& unit : units_) {
      if (!is_complete(unit)) pending_work_ += work(unit);
    }
  }

  void run() {
    std::map<std::string, const BudgetUnit*> by_module;
    std::set<std::string> modules;
    for (const BudgetUnit& unit : units_) {
      if (unit.block < 0 || is_complete(unit)) continue;
      for (const LinearPlan& matrix : unit.matrices) {
        by_module[matrix.name] = &unit;
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
              add(*by_module.at(linear.name), linear, hessian);
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
  std::vector<bool> wanted(const BudgetUnit& unit) const { return measured_of(unit, measured_); }
  bool is_there(const BudgetUnit& unit, size_t candidate) const {
    return bitsmith::is_there(unit, candidate, wanted(unit), rows_);
  }
  bool is_complete(const BudgetUnit& unit) const {
    return bitsmith::is_complete(unit, measured_, rows_);
  }
  // About what a unit takes, for the progress line: a pass weighs as much as all of a unit's
  // candidates.
  double work(const BudgetUnit& unit) const {
    const auto blocks = static_cast<double>(files_->plan().num_blocks());
    const std::vector<bool> chosen = wanted(unit);
    const auto passes = static_cast<double>(std::count(chosen.begin(), chosen.end(), true));
    return 1 + passes * (1 + 2 * (blocks - static_cast<double>(std::max<int64_t>(unit.block, 0))) /
                                 blocks);
  }
  void stop_if_cancelled() const {
    if (context_.cancelled())
      throw Interrupted(concat("stopped after measuring ", done_, " of ", units_.size(),
                               " groups of matrices; what was measured is kept, and the same "
                               "command goes on from there"));
  }
  void finish(const BudgetUnit& unit) {
    ++done_;
    done_work_ += work(unit);
    task_.update(std::min(1.0, done_work_ / pending_work_), unit.name);
    stop_if_cancelled();
  }
  void report(const BudgetUnit& unit, size_t candidate, double error, std::optional<double> kl) {
    if (kl && !std::isfinite(*kl))
      throw Error(concat("the model's logits are not finite with ", unit.name, " as ",
                         to_string(unit.candidates[candidate]),
                         ": leave that candidate out by --candidates"));
    rows_.add({unit.name, to_string(unit.candidates[candidate]), error, kl});
  }

  void add(const BudgetUnit& unit, const Linear& linear, const torch::Tensor& hessian) {
    stop_if_cancelled();
    UnitSums& sums = sums_[unit.name];
    sums.errors.resize(unit.candidates.size());
    sums.weights.resize(unit.candidates.size());
    const Objective objective(hessian);
    const double energy = objective.error(linear.weight);
    const std::vector<bool> chosen = wanted(unit);
    for (size_t c = 0; c < unit.candidates.size(); ++c) {
      if (is_there(unit, c)) continue;
      QuantizeOptions own = quick_options(options_.linear);
      own.method = method_for(unit.candidates[c], options_);
      own.cancel = context_.cancel;
      try {
        const QuantizedLinear quantized =
            quantize_linear(linear.weight, objective, unit.candidates[c], own);
        sums.errors[c] += quantized.relative_error * energy;
        if (chosen[c]) sums.weights[c][linear.name] = quantized.representation->dequantize();
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
      if (is_there(unit, c)) continue;
      std::optional<double> kl;
      if (chosen[c]) kl = model_.kl_of_block(unit.block, sums.weights[c]);
      report(unit, c, sums.energy > 0 ? sums.errors[c] / sums.energy : 0, kl);
      stop_if_cancelled();
    }
    sums_.erase(unit.name);
    finish(unit);
  }

  // Embedding and head, in their own objective (outer_quantizer.h).
  void measure_outer() {
    torch::Tensor final_states;  // their Hessian
    std::vector<int64_t> specials;
    for (const BudgetUnit& unit : units_) {
      if (unit.block >= 0 || is_complete(unit)) continue;
      if (!final_states.defined()) {
        final_states = final_states_hessian();
        specials = special_tokens(files_->checkpoint());
      }
      for (size_t c = 0; c < unit.candidates.size(); ++c) {
        if (is_there(unit, c)) continue;
        stop_if_cancelled();
        const QuantizedModules made =
            quantized_outer(unit, unit.candidates[c], final_states, specials);
        const torch::Tensor weight =
            decode_matrix(made.matrices.at(unit.matrices[0].name), torch::kFloat32);
        report(unit, c, made.linears.back().relative_error,
               model_.kl_of_outer(unit.matrices[0].name, weight));
      }
      finish(unit);
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
  const SensitivityData& data_;
  const QuantizeModelOptions& options_;
  int64_t measured_;
  SensitivityRows& rows_;
  const RunContext& context_;
  ReportedTask task_;
  JudgedModel model_;
  std::map<std::string, UnitSums> sums_;  // of units whose matrices come just now
  int64_t done_ = 0;
  double done_work_ = 0, pending_work_ = 0;
};

}  // namespace

SensitivityTokens sensitivity_tokens(int64_t length, int64_t windows) {
  constexpr int64_t kCalibrationTokens = 16384, kLongest = 512;
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

std::vector<bool> measured_candidates(size_t count, int64_t measured, bool is_embedding) {
  std::vector<bool> chosen(count, is_embedding || measured >= static_cast<int64_t>(count));
  if (chosen.front()) return chosen;
  for (int64_t i = 1; i <= measured; ++i)
    chosen[static_cast<size_t>(i) * (count - 1) / static_cast<size_t>(measured + 1)] = true;
  return chosen;
}

QuantizeOptions quick_options(const QuantizeOptions& options) {
  constexpr int kRounds = 1, kKmeansIterations = 8;
  QuantizeOptions quick = options;
  quick.max_rounds = std::min(options.max_rounds, kRounds);
  quick.kmeans_iterations = std::min(options.kmeans_iterations, kKmeansIterations);
  return quick;
}

bool all_measured(const std::vector<BudgetUnit>& units, int64_t measured,
                  const SensitivityRows& rows) {
  return std::all_of(units.begin(), units.end(),
                     [&](const BudgetUnit& unit) { return is_complete(unit, measured, rows); });
}

void measure_sensitivity(const std::shared_ptr<const ModelFiles>& files,
                         const std::vector<BudgetUnit>& units, const SensitivityData& data,
                         const QuantizeModelOptions& options, int64_t measured,
                         SensitivityRows& rows, const RunContext& context) {
  if (all_measured(units, measured, rows)) return;
  const torch::NoGradGuard no_grad;
  Sensitivity(files, units, data, options, measured, rows, context).run();
}

std::vector<AllocationUnit> allocation_units(const std::vector<BudgetUnit>& units, int64_t measured,
                                             const SensitivityRows& rows) {
  std::vector<AllocationUnit> allocation;
  for (const BudgetUnit& unit : units) {
    const std::vector<bool> wanted = measured_of(unit, measured);
    std::vector<double> errors;
    std::vector<std::optional<double>> kl;
    for (size_t c = 0; c < unit.candidates.size(); ++c) {
      const SensitivityRow* row = rows.find(unit.name, to_string(unit.candidates[c]));
      BITSMITH_CHECK(row);
      errors.push_back(row->relative_error);
      kl.push_back(wanted[c] ? row->kl : std::nullopt);
    }
    allocation.push_back({unit.bytes, interpolated_kl(errors, kl)});
  }
  return allocation;
}

}  // namespace bitsmith
