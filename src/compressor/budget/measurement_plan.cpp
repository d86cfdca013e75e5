#include "compressor/budget/measurement_plan.h"

#include <map>
#include <string>

#include "base/error.h"
#include "compressor/budget/ladder.h"

namespace bitsmith {
namespace {

// The same for units that are alike.
std::string likeness(const BudgetUnit& unit) {
  std::string text = unit.part;
  for (const LinearPlan& matrix : unit.matrices)
    text += concat(" ", matrix.out_features, "x", matrix.in_features);
  for (const RepresentationSpec& candidate : unit.candidates)
    text += concat(" ", to_string(candidate));
  return text;
}

}  // namespace

MeasurementPlan measurement_plan(const std::vector<BudgetUnit>& units, int64_t measured) {
  MeasurementPlan plan;
  for (const BudgetUnit& unit : units) {
    const size_t count = unit.candidates.size();
    plan.emplace_back(count, unit.block < 0 ? Measurement::kKl : Measurement::kNone);
    const std::vector<bool> chosen = measured_candidates(count, measured);
    for (size_t c = 0; c < count; ++c)
      if (chosen[c]) plan.back()[c] = Measurement::kKl;
  }
  for (const std::vector<size_t>& family : like_units(units)) {
    for (const size_t place : whole_ladders(family.size())) {
      for (Measurement& measurement : plan[family[place]])
        if (measurement == Measurement::kNone) measurement = Measurement::kError;
    }
  }
  return plan;
}

std::vector<bool> measured_candidates(size_t count, int64_t measured) {
  std::vector<bool> chosen(count, measured >= static_cast<int64_t>(count));
  if (chosen.front()) return chosen;
  for (int64_t i = 1; i <= measured; ++i)
    chosen[static_cast<size_t>(i) * (count - 1) / static_cast<size_t>(measured + 1)] = true;
  return chosen;
}

std::vector<std::vector<size_t>> like_units(const std::vector<BudgetUnit>& units) {
  std::map<std::string, std::vector<size_t>> families;
  for (size_t u = 0; u < units.size(); ++u)
    if (units[u].block >= 0) families[likeness(units[u])].push_back(u);
  std::vector<std::vector<size_t>> found;
  for (const auto& [text, family] : families) found.push_back(family);
  return found;
}

}  // namespace bitsmith
