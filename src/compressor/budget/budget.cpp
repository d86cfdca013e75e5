#include "compressor/budget/budget.h"

#include <algorithm>
#include <functional>
#include <map>
#include <vector>

#include "base/communicator.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "compressor/budget/budget_units.h"
#include "compressor/budget/sensitivity.h"
#include "compressor/budget/sensitivity_rows.h"
#include "compressor/budget/target.h"
#include "compressor/quantize_model/streamed_kl.h"
#include "tokenizer/special_tokens.h"

namespace bitsmith {
namespace {

std::vector<BudgetUnit> units_of(const ModelFiles& files, const QuantizeModelOptions& options,
                                 const BudgetOptions& budget) {
  return budget_units(files.plan(), options, budget, special_tokens(files.checkpoint()));
}

std::vector<size_t> middle(const std::vector<BudgetUnit>& units) {
  std::vector<size_t> choices = largest_choices(units);
  for (size_t& choice : choices) choice /= 2;
  return choices;
}

// Throws where the options do not go with one of the candidates, which the target may choose.
void check_candidates(const ModelPlan& model, const QuantizeModelOptions& options,
                      const std::vector<BudgetUnit>& units) {
  std::vector<size_t> choices = smallest_choices(units);
  const std::vector<size_t> last = largest_choices(units);
  for (;;) {
    plan_quantization(model, with_choices(options, units, choices), {});
    if (choices == last) return;
    for (size_t u = 0; u < units.size(); ++u) choices[u] = std::min(choices[u] + 1, last[u]);
  }
}

void check_options(const QuantizeModelOptions& options, const BudgetOptions& budget) {
  const int targets =
      (budget.target_size.bytes > 0) + (budget.target_bits > 0) + (budget.target_kl > 0);
  if (targets != 1)
    throw UsageError("give one target: --target-size, --target-bits or --target-kl");
  if (options.method && *options.method != Method::kRtn)
    throw UsageError(concat("with a target each candidate has its own method, or all have rtn; ",
                            method_name(*options.method), " is not for all"));
  constexpr size_t kMostCandidates = 64;
  for (const CandidateList* list : {&budget.candidates, &budget.embedding_candidates}) {
    if (list->specs.size() > kMostCandidates)
      throw UsageError(concat("at most ", kMostCandidates, " candidates can be compared"));
  }
}

void check_memory(const ModelFiles& files, const BudgetOptions& budget,
                  const std::vector<BudgetUnit>& units, int64_t length) {
  const uint64_t needed = sensitivity_memory(files.plan(), units, budget, length),
                 free_memory = available_memory_bytes();
  if (needed > free_memory)
    throw Error(concat("not enough memory to measure what matrices need: about ",
                       format_bytes(static_cast<double>(needed)),
                       " are needed, the model in "
                       "float32 among them, and ",
                       format_bytes(static_cast<double>(free_memory)),
                       " are free; give a --representation"));
}

// All that measurements hang on. The version goes up when a method gives other codes than before.
OrderedJson measurement_facts(const ModelFiles& files, const TokenDataset& data,
                              const QuantizeModelOptions& options, const BudgetOptions& budget) {
  constexpr int kVersion = 3;
  OrderedJson facts = {{"version", kVersion},
                       {"model", files.checkpoint().content_hash()},
                       {"data", data.hash},
                       {"window_tokens", data.train.size(1)},
                       {"calibration_windows", data.train.size(0)},
                       {"held_out_windows", data.validation.size(0)},
                       {"budget_windows", budget.windows},
                       {"method", option_text(options.method)}};
  facts.update(options_json(quick_options(options.linear)));
  return facts;
}

OrderedJson unit_json(const BudgetUnit& unit, size_t choice, double kl) {
  OrderedJson json = {{"unit", unit.name}};
  if (unit.block >= 0) json["block"] = unit.block;
  json["part"] = unit.part;
  json["representation"] = to_string(unit.candidates[choice]);
  json["bits"] = bits(unit, choice);
  json["kl"] = kl;
  return json;
}

// Measures what is not measured yet, and chooses.
OrderedJson chosen_budget(const std::shared_ptr<const ModelFiles>& files, const TokenDataset& data,
                          const QuantizeModelOptions& options, const BudgetOptions& budget,
                          const std::vector<BudgetUnit>& units, const WorkFolder& work,
                          const RunContext& context) {
  SensitivityRows rows(budget.measurements.empty() ? work.log("sensitivity")
                                                   : std::filesystem::path(budget.measurements),
                       measurement_facts(*files, data, options, budget));
  if (const std::string differ = rows.why_unused(); !differ.empty())
    log_warning(concat("none of the measurements in the file is of this request (different: ",
                       differ, "): all are made anew, and added"));
  const SensitivityData windows = sensitivity_data(data, budget.windows);
  const MeasurementPlan wanted = measurement_plan(units, budget.measured);
  if (!all_measured(units, wanted, rows)) {
    const int64_t length = data.train.size(1);
    check_memory(*files, budget, units, length);
    const SensitivityTime time =
        sensitivity_time(files->plan(), units, wanted, options, length, context);
    log_info(concat("measuring what ", units.size(), " groups of matrices need takes about ",
                    format_duration(time.seconds(windows.judged.size(0))),
                    " where nothing is measured yet"));
    measure_sensitivity(files, units, wanted, windows, options, rows, context);
  }
  const std::vector<AllocationUnit> allocation_of = allocation_units(units, wanted, rows);
  const TargetPlan plan = plan_to_target(*files, options, budget, units, allocation_of);
  OrderedJson json = {{"predicted_kl", plan.kl},
                      {"predicted_bytes", plan.file_bytes},
                      {"decoder_bits", plan.decoder_bits},
                      {"windows", windows.judged.size(0)},
                      {"window_tokens", windows.judged.size(1)}};
  json["units"] = OrderedJson::array();
  for (size_t u = 0; u < units.size(); ++u) {
    const size_t choice = plan.choices[u];
    json["units"].push_back(unit_json(units[u], choice, allocation_of[u].kl[choice]));
  }
  return json;
}

std::vector<size_t> choices_of(const OrderedJson& budget, const std::vector<BudgetUnit>& units) {
  std::map<std::string, std::string> chosen;
  for (const OrderedJson& unit : budget.at("units"))
    chosen[unit.at("unit").get<std::string>()] = unit.at("representation").get<std::string>();
  std::vector<size_t> choices;
  for (const BudgetUnit& unit : units) {
    const auto found =
        std::find_if(unit.candidates.begin(), unit.candidates.end(),
                     [&](const auto& spec) { return to_string(spec) == chosen[unit.name]; });
    if (found == unit.candidates.end())
      throw Error(concat("the choices in the work folder have none for ", unit.name,
                         ": delete the folder to start anew"));
    choices.push_back(static_cast<size_t>(found - unit.candidates.begin()));
  }
  return choices;
}

}  // namespace

void check_budget_request(const ModelFiles& files, const QuantizeModelOptions& options,
                          const BudgetOptions& budget, const RunContext& context) {
  check_options(options, budget);
  const std::vector<BudgetUnit> units = units_of(files, options, budget);
  check_quantize_request(files, with_choices(options, units, smallest_choices(units)), context);
  check_candidates(files.plan(), options, units);
  check_target(files, options, budget, units);
}

OrderedJson budget_request(const ModelFiles& files, const QuantizeModelOptions& options,
                           const BudgetOptions& budget, OrderedJson request) {
  request["budget"] = options_json(budget);
  request = quantize_request(files, options, request);
  request["options"].erase("representation");
  return request;
}

void check_budget_resources(const ModelFiles& files, const QuantizeModelOptions& options,
                            const BudgetOptions& budget, const WorkFolder& work, int64_t tokens,
                            int64_t length, const BlockFinetuner& finetune,
                            Communicator& communicator) {
  const std::vector<BudgetUnit> units = units_of(files, options, budget);
  check_resources(files, with_choices(options, units, largest_choices(units)), work, tokens, length,
                  finetune, communicator);
  check_together(communicator, [&] {  // the first rank measures, alone
    if (communicator.first()) check_memory(files, budget, units, length);
  });
}

BudgetTime budget_time(const ModelFiles& files, const QuantizeModelOptions& options,
                       const BudgetOptions& budget, int64_t length, const RunContext& context) {
  const std::vector<BudgetUnit> units = units_of(files, options, budget);
  return {sensitivity_time(files.plan(), units, measurement_plan(units, budget.measured), options,
                           length, context),
          quantize_time(files, with_choices(options, units, middle(units)), context)};
}

BudgetOutcome quantize_to_budget(const std::shared_ptr<const ModelFiles>& files,
                                 const TokenDataset& data, const QuantizeModelOptions& options,
                                 const BudgetOptions& budget, WorkFolder& work,
                                 const std::filesystem::path& log, const RunContext& context,
                                 const BlockFinetuner& finetune) {
  BudgetOutcome outcome;
  if (work.published()) {
    outcome.result = read_quantize_result(work.out());
    outcome.budget = read_budget(work.out());
    return outcome;
  }
  const std::vector<BudgetUnit> units = units_of(*files, options, budget);
  outcome.budget = work.settle("budget", [&] {
    return chosen_budget(files, data, options, budget, units, work, context.alone());
  });
  if (budget.plan_only) return outcome;
  const auto judge = [&](const std::shared_ptr<const ModelFiles>& quantized, OrderedJson& recipe) {
    const SensitivityData windows = sensitivity_data(data, budget.windows);
    const auto kl =
        streamed_kl(files, quantized, {windows.judged}, torch::kFloat32, context).front();
    if (kl) outcome.budget["kl"] = *kl;
    recipe["budget"].update(outcome.budget);
  };
  outcome.result =
      quantize_model(files, data, with_choices(options, units, choices_of(outcome.budget, units)),
                     work, log, context, finetune, judge);
  return outcome;
}

}  // namespace bitsmith
