// What a budget chooses for: the matrices of a model in groups that get one representation each.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "compressor/budget/allocation.h"
#include "compressor/budget/budget_options.h"
#include "compressor/quantize_model/quantization_plan.h"

namespace bitsmith {

// Of a block: queries and keys | values | attention output | MLP inputs | MLP output (of all
// experts together); and embedding and head, each alone.
struct BudgetUnit {
  std::string name;    // "block 3 q_proj+k_proj", "model.embed_tokens"
  int64_t block = -1;  // none: embedding or head
  std::string part;    // "q_proj+k_proj"
  std::vector<LinearPlan> matrices;
  // Those that fit all its matrices, by rising bytes, and the bytes that each adds to the file:
  // tensors, and about their entries in its header.
  std::vector<RepresentationSpec> candidates;
  std::vector<uint64_t> bytes;
};

// The matrices that the options leave open: not kept dense, not overridden; embedding and head
// where --embedding has its default and the target is no number of decoder bits. Throws UsageError
// where there are none, or where no candidate fits a unit.
std::vector<BudgetUnit> budget_units(const ModelPlan& model, const QuantizeModelOptions& options,
                                     const BudgetOptions& budget,
                                     const std::vector<int64_t>& special_tokens);

// `options` with a candidate chosen for each unit.
QuantizeModelOptions with_choices(const QuantizeModelOptions& options,
                                  const std::vector<BudgetUnit>& units,
                                  const std::vector<size_t>& choices);

// For each unit the candidate with the fewest bytes, or with the most.
std::vector<size_t> smallest_choices(const std::vector<BudgetUnit>& units);
std::vector<size_t> largest_choices(const std::vector<BudgetUnit>& units);

// Weights of its matrices, and bits of a candidate's bytes for each.
int64_t weights(const BudgetUnit& unit);
double bits(const BudgetUnit& unit, size_t candidate);

}  // namespace bitsmith
