// The runtime behind the judging interface.
#pragma once
#include <filesystem>
#include <memory>

#include "base/run_context.h"
#include "evaluate/language_model.h"

namespace bitsmith {

// Original, quantized or packed models; shows how loading goes on. Throws Error for what the
// runtime cannot hold.
std::unique_ptr<LanguageModel> load_runtime_language_model(const std::filesystem::path& model,
                                                           const RunContext& context);

}  // namespace bitsmith
