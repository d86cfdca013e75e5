// A target and the choice of candidates that comes to it.
#pragma once
#include <cstdint>
#include <vector>

#include "compressor/budget/budget_units.h"

namespace bitsmith {

struct TargetPlan {
  std::vector<size_t> choices;  // a candidate for each unit
  double kl = 0;                // predicted: the sum of all units'
  uint64_t file_bytes = 0;      // exact (result_tensors.h)
  double decoder_bits = 0;
};

// Throws UsageError where the target size or bits are below what the smallest candidates come to,
// or above what the largest do; the message has both.
void check_target(const ModelFiles& files, const QuantizeModelOptions& options,
                  const BudgetOptions& budget, const std::vector<BudgetUnit>& units);

// The least KL at the target's size or bits, or the smallest file at its KL. `sensitivities`: of
// each unit's candidates. Throws UsageError where no choice has so little KL.
TargetPlan plan_to_target(const ModelFiles& files, const QuantizeModelOptions& options,
                          const BudgetOptions& budget, const std::vector<BudgetUnit>& units,
                          const std::vector<AllocationUnit>& sensitivities);

}  // namespace bitsmith
