// Whether calibration text can do its work. Each returns a warning, empty where all is well.
#pragma once
#include <cstdint>
#include <string>

#include "architecture/model_plan.h"
#include "base/run_context.h"
#include "compressor/calibration/token_dataset.h"
#include "evaluate/language_model.h"

namespace bitsmith {

// With fewer tokens than a matrix has inputs, the Hessian of these inputs does not have full rank.
std::string few_tokens_warning(int64_t tokens, const ModelPlan& model);

// absurd_perplexity_warning() (text_warnings.h) for the first kAbsurdTextTokens tokens of up to two
// training windows. Throws Interrupted.
std::string absurd_text_warning(LanguageModel& original, const TokenDataset& data,
                                const std::string& source, const RunContext& context = {});
constexpr int64_t kAbsurdTextTokens = 128;

}  // namespace bitsmith
