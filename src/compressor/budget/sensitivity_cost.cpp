// What measuring will take, before it starts.
#include <algorithm>

#include "base/error.h"
#include "compressor/budget/sensitivity.h"

namespace bitsmith {

SensitivityTime sensitivity_time(const ModelPlan& model, const std::vector<BudgetUnit>& units,
                                 const QuantizeModelOptions& options, int64_t measured,
                                 int64_t length, const RunContext& context) {
  const SensitivityTokens tokens = sensitivity_tokens(length, 1);
  QuantizationPlan all;  // each candidate of each matrix as a matrix of its own
  all.blocks = model.num_blocks();
  const PassTime pass = pass_time(model, torch::kFloat32);
  const auto blocks = static_cast<double>(model.num_blocks());
  double passes = pass.blocks + pass.head;  // seconds for each judged token; first, the original
  for (const BudgetUnit& unit : units) {
    for (const RepresentationSpec& spec : unit.candidates) {
      for (const LinearPlan& matrix : unit.matrices)
        all.matrices[concat(matrix.name, " ", to_string(spec))] = {matrix, spec,
                                                                   method_for(spec, options)};
    }
    const std::vector<bool> chosen =
        measured_candidates(unit.candidates.size(), measured, unit.block < 0);
    const double after = 1 - static_cast<double>(std::max<int64_t>(unit.block, 0)) / blocks;
    passes += static_cast<double>(std::count(chosen.begin(), chosen.end(), true)) *
              (after * pass.blocks + 2 * pass.head);
  }
  QuantizeModelOptions quick;  // the plain objective, without a cross term
  quick.cross_term = 0;
  quick.linear = quick_options(options.linear);
  return {estimate_time(all, model, quick, context).seconds(tokens.calibration),
          passes * static_cast<double>(tokens.judged)};
}

uint64_t sensitivity_memory(const ModelPlan& model, const std::vector<BudgetUnit>& units,
                            const BudgetOptions& budget, int64_t length) {
  const SensitivityTokens tokens = sensitivity_tokens(length, budget.windows);
  QuantizationPlan largest;  // what one matrix takes, and the activations of the text for Hessians
  largest.blocks = model.num_blocks();
  for (const BudgetUnit& unit : units) {
    const auto whole = std::find_if_not(unit.candidates.begin(), unit.candidates.end(),
                                        [](const auto& spec) { return rows_stand_alone(spec); });
    const RepresentationSpec& spec =
        whole != unit.candidates.end() ? *whole : unit.candidates.front();
    for (const LinearPlan& matrix : unit.matrices)
      largest.matrices[matrix.name] = {matrix, spec, default_method(spec)};
  }
  QuantizeModelOptions plain;
  plain.cross_term = 0;
  estimate_resources(largest, model, tokens.calibration, length, plain);
  int64_t parameters = 0;
  for (const PlannedTensor& tensor : planned_tensors(model))
    parameters += element_count(tensor.shape);
  return largest.memory_bytes +
         4 * static_cast<uint64_t>(parameters + 6 * tokens.judged * model.hidden_size);
}

}  // namespace bitsmith
