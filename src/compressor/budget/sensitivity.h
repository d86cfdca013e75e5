// Measured sensitivity: the KL of a model in which one unit alone is quantized.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "base/run_context.h"
#include "compressor/budget/allocation.h"
#include "compressor/budget/measurement_plan.h"
#include "compressor/budget/sensitivity_rows.h"
#include "compressor/calibration/token_dataset.h"
#include "compressor/torch.h"

namespace bitsmith {

// Windows [n, length] int64.
struct SensitivityData {
  torch::Tensor calibration;  // for Hessians: 16k tokens, or one window
  torch::Tensor judged;       // for KL: held-out ones first, then the last of training, cut short
};
SensitivityData sensitivity_data(const TokenDataset& data, int64_t windows);
// Tokens of either for windows of `length`, and of `windows` judged ones.
struct SensitivityTokens {
  int64_t calibration = 0, judged = 0;
};
SensitivityTokens sensitivity_tokens(int64_t length, int64_t windows);

// The linear options that candidates are made with: few rounds.
QuantizeOptions quick_options(const QuantizeOptions& options);

// Adds to `rows` what `plan` asks for and is missing there: of candidates of a unit the relative
// error of its outputs by its own method on the original model's Hessians (tr of all its matrices'
// errors over that of their outputs), and of some the KL against the original over `data.judged`,
// float32. A unit of block b changes blocks from b on, so that only these run. Holds the whole
// model in float32. Throws Interrupted; the rows that are there stay.
void measure_sensitivity(const std::shared_ptr<const ModelFiles>& files,
                         const std::vector<BudgetUnit>& units, const MeasurementPlan& plan,
                         const SensitivityData& data, const QuantizeModelOptions& options,
                         SensitivityRows& rows, const RunContext& context);

bool all_measured(const std::vector<BudgetUnit>& units, const MeasurementPlan& plan,
                  const SensitivityRows& rows);

// Every candidate's bytes and KL: measured, or what follows from the others (ladder.h). The rows
// have all that the plan asks for; what they have besides changes nothing.
std::vector<AllocationUnit> allocation_units(const std::vector<BudgetUnit>& units,
                                             const MeasurementPlan& plan,
                                             const SensitivityRows& rows);

}  // namespace bitsmith
