#include "compressor/budget/budget_units.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "base/error.h"
#include "compressor/quantize_model/module_pattern.h"

namespace bitsmith {
namespace {

// Fits every matrix, as what fits one input does, and says nothing of them.
RepresentationSpec any_size() { return row_representation(8, /*in_features=*/1); }

// Beside its name: {"dtype":"F16","shape":[49152,18],"data_offsets":[123456789,123456789]},
constexpr uint64_t kHeaderEntry = 72;

std::string last_name(const std::string& module) { return module.substr(module.rfind('.') + 1); }

// Distinct last names, "gate_proj+up_proj".
std::string part_name(const std::vector<LinearPlan>& matrices) {
  std::vector<std::string> names;
  for (const LinearPlan& matrix : matrices) {
    const std::string name = last_name(matrix.name);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  std::string part;
  for (const std::string& name : names) part += (part.empty() ? "" : "+") + name;
  return part;
}

// What each of a block's linears belongs to; values are for themselves: they want other bits than
// queries and keys.
int group_of(const BlockPlan& block, const Site& site, const LinearPlan& linear) {
  const AttentionPlan& attention = block.attention;
  switch (site.kind) {
    case Site::Kind::kAttentionInput:
      return attention.order == AttentionPlan::Order::kSeparate &&
                     linear.name == attention.inputs.back().name
                 ? 1
                 : 0;
    case Site::Kind::kAttentionOutput:
      return 2;
    case Site::Kind::kMlpInput:
      return 3;
    case Site::Kind::kMlpDown:
      return 4;
  }
  BITSMITH_CHECK(false);
  return 0;
}

uint64_t matrix_bytes(const LinearPlan& matrix, const RepresentationSpec& spec) {
  uint64_t bytes = 0;
  for (const PartLayout& part : part_layout(spec, matrix.out_features, matrix.in_features))
    bytes += static_cast<uint64_t>(byte_size(part.dtype, part.shape)) + matrix.name.size() +
             part.name.size() + kHeaderEntry;
  return bytes;
}

// Fills the candidates that fit all matrices of the unit.
void add_candidates(BudgetUnit& unit, const CandidateList& candidates, int64_t special_tokens) {
  std::string reason;
  std::vector<std::pair<uint64_t, RepresentationSpec>> fitting;
  for (const RepresentationSpec& spec : candidates.specs) {
    try {
      if (unit.block < 0 && mixes_rows(spec))
        throw UsageError("it mixes rows, and an embedding is looked up row by row");
      uint64_t bytes = 0;
      for (const LinearPlan& matrix : unit.matrices) {
        check_quantizable(spec, matrix.out_features, matrix.in_features);
        bytes += matrix_bytes(matrix, unit.block < 0
                                          ? with_special_tokens(spec, matrix.out_features,
                                                                matrix.in_features, special_tokens)
                                          : spec);
      }
      fitting.emplace_back(bytes, spec);
    } catch (const UsageError& error) {
      reason = concat(to_string(spec), ": ", error.what());
    }
  }
  if (fitting.empty())
    throw UsageError(concat("no candidate fits ", unit.name, " (", reason, "): give others by --",
                            unit.block < 0 ? "embedding-candidates" : "candidates",
                            ", or leave it out by --keep or --override"));
  std::stable_sort(fitting.begin(), fitting.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [bytes, spec] : fitting) {
    unit.bytes.push_back(bytes);
    unit.candidates.push_back(spec);
  }
}

}  // namespace

std::vector<BudgetUnit> budget_units(const ModelPlan& model, const QuantizeModelOptions& options,
                                     const BudgetOptions& budget,
                                     const std::vector<int64_t>& special_tokens) {
  QuantizeModelOptions open = options;
  open.representation = any_size();
  const bool embedding_is_open = options.embedding == EmbeddingChoice() && budget.target_bits == 0;
  if (embedding_is_open) open.embedding = {.representation = any_size()};
  const QuantizationPlan scope = plan_quantization(model, open, special_tokens);
  std::vector<ModulePattern> fixed;
  for (const auto& [text, spec] : options.overrides) fixed.emplace_back("override", text);
  const auto is_open = [&](const LinearPlan& matrix) {
    return scope.find(matrix.name) &&
           std::none_of(fixed.begin(), fixed.end(),
                        [&](ModulePattern& pattern) { return pattern.matches(matrix.name); });
  };

  std::vector<BudgetUnit> units;
  const CandidateList of_blocks =
      budget.candidates.specs.empty() ? block_candidates() : budget.candidates;
  for (int64_t index = 0; index < scope.blocks; ++index) {
    const BlockPlan& block = model.blocks[static_cast<size_t>(index)];
    std::map<int, BudgetUnit> groups;
    for (const Site& site : sites(block)) {
      for (const LinearPlan* linear : site.linears)
        if (is_open(*linear)) groups[group_of(block, site, *linear)].matrices.push_back(*linear);
    }
    for (auto& [group, unit] : groups) {
      unit.block = index;
      unit.part = part_name(unit.matrices);
      unit.name = concat("block ", index, " ", unit.part);
      add_candidates(unit, of_blocks, 0);
      units.push_back(std::move(unit));
    }
  }
  if (embedding_is_open) {
    std::vector<LinearPlan> outer_matrices = {model.embedding};
    if (!model.tied) outer_matrices.push_back(model.head);
    for (const LinearPlan& outer : outer_matrices) {
      if (!is_open(outer)) continue;
      BudgetUnit unit;
      unit.name = outer.name;
      unit.part = last_name(outer.name);
      unit.matrices = {outer};
      add_candidates(unit,
                     budget.embedding_candidates.specs.empty() ? embedding_candidates(weights(unit))
                                                               : budget.embedding_candidates,
                     std::ssize(special_tokens));
      units.push_back(std::move(unit));
    }
  }
  if (units.empty())
    throw UsageError(
        "a target needs matrices to choose for, and every one is kept dense or overridden");
  return units;
}

QuantizeModelOptions with_choices(const QuantizeModelOptions& options,
                                  const std::vector<BudgetUnit>& units,
                                  const std::vector<size_t>& choices) {
  QuantizeModelOptions chosen = options;
  chosen.representation = any_size();  // of no matrix: all are chosen, kept or overridden
  for (size_t u = 0; u < units.size(); ++u) {
    for (const LinearPlan& matrix : units[u].matrices)
      chosen.chosen[matrix.name] = units[u].candidates.at(choices.at(u));
  }
  return chosen;
}

std::vector<size_t> smallest_choices(const std::vector<BudgetUnit>& units) {
  return std::vector<size_t>(units.size(), 0);
}

std::vector<size_t> largest_choices(const std::vector<BudgetUnit>& units) {
  std::vector<size_t> choices;
  for (const BudgetUnit& unit : units) choices.push_back(unit.candidates.size() - 1);
  return choices;
}

int64_t weights(const BudgetUnit& unit) {
  return std::accumulate(unit.matrices.begin(), unit.matrices.end(), int64_t{0},
                         [](int64_t sum, const LinearPlan& matrix) {
                           return sum + matrix.out_features * matrix.in_features;
                         });
}

double bits(const BudgetUnit& unit, size_t candidate) {
  double total = 0;
  for (const LinearPlan& matrix : unit.matrices) {
    total += bits_per_weight(unit.candidates[candidate], matrix.out_features, matrix.in_features) *
             static_cast<double>(matrix.out_features * matrix.in_features);
  }
  return total / static_cast<double>(weights(unit));
}

}  // namespace bitsmith
