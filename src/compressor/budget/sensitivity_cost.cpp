#include "compressor/budget/sensitivity_cost.h"

#include <algorithm>

#include "base/error.h"
#include "compressor/budget/sensitivity.h"

namespace bitsmith {

SensitivityTime sensitivity_time(const ModelPlan& model, const std::vector<BudgetUnit>& units,
                                 const MeasurementPlan& plan, const QuantizeModelOptions& options,
                                 int64_t length, const RunContext& context) {
  const SensitivityTokens tokens = sensitivity_tokens(length, 1);
  QuantizationPlan made;  // each candidate of each matrix as a matrix of its own
  made.blocks = model.num_blocks();
  const PassTime pass = pass_time(model, torch::kFloat32);
  const auto blocks = static_cast<double>(model.num_blocks());
  double passes = pass.blocks + pass.head;  // seconds for each judged token; first, the original
  bool has_outer = false;
  for (size_t u = 0; u < units.size(); ++u) {
    const BudgetUnit& unit = units[u];
    for (size_t c = 0; c < unit.candidates.size(); ++c) {
      if (plan[u][c] == Measurement::kNone) continue;
      const RepresentationSpec& spec = unit.candidates[c];
      for (const LinearPlan& matrix : unit.matrices)
        made.matrices[concat(matrix.name, " ", to_string(spec))] = {matrix, spec,
                                                                    method_for(spec, options)};
    }
    double after = 1 - static_cast<double>(std::max<int64_t>(unit.block, 0)) / blocks;
    if (!model.tied && unit.name == model.head.name) after = 0;
    passes += static_cast<double>(std::count(plan[u].begin(), plan[u].end(), Measurement::kKl)) *
              (after * pass.blocks + pass.head);
    has_outer |= unit.block < 0;
  }
  QuantizeModelOptions quick;  // the plain objective, without a cross term
  quick.cross_term = 0;
  quick.linear = quick_options(options.linear);
  QuantizeTime making = one_shot_time(made, model, quick, context);
  if (has_outer) making.seconds_per_token += pass.blocks;  // to the final hidden states
  return {making.seconds(tokens.calibration), passes * static_cast<double>(tokens.judged)};
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
         4 * static_cast<uint64_t>(parameters +
                                   tokens.judged * (6 * model.hidden_size + model.vocab_size));
}

}  // namespace bitsmith
