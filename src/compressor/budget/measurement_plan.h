// What is measured of each unit's candidates, and what is not, since like units are alike.
#pragma once
#include <cstdint>
#include <vector>

#include "compressor/budget/budget_units.h"

namespace bitsmith {

// Of a candidate of a unit.
enum class Measurement {
  kNone,   // nothing: its relative error follows from like units
  kError,  // it is made: the relative error of the outputs
  kKl,     // and the model runs with it
};
using MeasurementPlan = std::vector<std::vector<Measurement>>;  // [unit][candidate]

// KL: of the measured_candidates() of every unit of a block, and of all of embedding and head.
// Errors: of all in the whole_ladders() (ladder.h) of like units. `measured`: as in BudgetOptions.
MeasurementPlan measurement_plan(const std::vector<BudgetUnit>& units, int64_t measured);

// Which of `count` candidates are measured: so many, evenly spread inside the list.
std::vector<bool> measured_candidates(size_t count, int64_t measured);

// Units that are alike but for their block, as places in `units`, in the order of blocks. Embedding
// and head are in none.
std::vector<std::vector<size_t>> like_units(const std::vector<BudgetUnit>& units);

}  // namespace bitsmith
