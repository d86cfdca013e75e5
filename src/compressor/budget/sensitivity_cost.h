// What measuring will take, before it starts.
#pragma once
#include <cstdint>
#include <vector>

#include "base/run_context.h"
#include "compressor/budget/measurement_plan.h"

namespace bitsmith {

// Wall time of measuring, all of it: candidates are made, and judged windows run.
struct SensitivityTime {
  double candidates = 0, seconds_per_window = 0;
  double seconds(int64_t windows) const {
    return candidates + seconds_per_window * static_cast<double>(windows);
  }
};
SensitivityTime sensitivity_time(const ModelPlan& model, const std::vector<BudgetUnit>& units,
                                 const MeasurementPlan& plan, const QuantizeModelOptions& options,
                                 int64_t length, const RunContext& context);
// Bytes of the process at its peak.
uint64_t sensitivity_memory(const ModelPlan& model, const std::vector<BudgetUnit>& units,
                            const BudgetOptions& budget, int64_t length);

}  // namespace bitsmith
