// Quantization to a target: sensitivities are measured, a candidate is chosen for each unit, and
// the model is quantized with what was chosen (docs/budget.md).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/run_context.h"
#include "compressor/budget/budget_options.h"
#include "compressor/budget/sensitivity_cost.h"
#include "compressor/calibration/token_dataset.h"
#include "compressor/quantize_model/quantize_model.h"

namespace bitsmith {

// All that can be refused without data: see check_quantize_request(); more than one target, a
// method that not all candidates have, a size or a number of bits that no choice of candidates
// comes to (the message has both ends). `options.representation` is not used, here and below.
void check_budget_request(const ModelFiles& files, const QuantizeModelOptions& options,
                          const BudgetOptions& budget, const RunContext& context);

// quantize_request() with the budget in place of a representation.
OrderedJson budget_request(const ModelFiles& files, const QuantizeModelOptions& options,
                           const BudgetOptions& budget, OrderedJson request);

// Throws Error where memory or disk are not enough to measure or to quantize. tokens, length: of
// calibration, see check_resources().
void check_budget_resources(const ModelFiles& files, const QuantizeModelOptions& options,
                            const BudgetOptions& budget, const WorkFolder& work, int64_t tokens,
                            int64_t length, const BlockFinetuner& finetune,
                            Communicator& communicator);

// Wall time of measuring, with calibration windows of `length`, and of quantizing to candidates in
// the middle.
struct BudgetTime {
  SensitivityTime measuring;
  QuantizeTime quantizing;
};
BudgetTime budget_time(const ModelFiles& files, const QuantizeModelOptions& options,
                       const BudgetOptions& budget, int64_t length, const RunContext& context);

struct BudgetOutcome {
  std::optional<QuantizeModelResult> result;  // none where only the plan was asked for
  // What bitsmith.json has as `budget` (docs/budget.md): `units` with their choices,
  // `predicted_kl`, `predicted_bytes`, `decoder_bits`; and `kl`, that of the result on the windows
  // of the measurements, once there is a result.
  OrderedJson budget;
};

// Measures, chooses, quantizes. Measurements and choices lie in `work`, and the same request goes
// on with them: see quantize_model() for the rest.
BudgetOutcome quantize_to_budget(const std::shared_ptr<const ModelFiles>& files,
                                 const TokenDataset& data, const QuantizeModelOptions& options,
                                 const BudgetOptions& budget, WorkFolder& work,
                                 const std::filesystem::path& log, const RunContext& context,
                                 const BlockFinetuner& finetune = {});

// The `budget` of a result. Error where it has none.
OrderedJson read_budget(const std::filesystem::path& out);
// Markdown: a row a block with what each of its units becomes, then embedding and head.
std::string budget_table(const OrderedJson& budget);
// "predicted 57.9 MB, 3.120 decoder bits, KL 0.1234; KL of the result on the same text 0.1301".
std::string budget_line(const OrderedJson& budget);

}  // namespace bitsmith
