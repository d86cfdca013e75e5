// The runtime behind the judging interface.
#pragma once
#include <filesystem>
#include <memory>

#include "evaluate/language_model.h"

namespace bitsmith {

// Original or quantized checkpoints. Throws Error for what the runtime cannot hold.
std::unique_ptr<LanguageModel> load_runtime_language_model(const std::filesystem::path& model,
                                                           int threads);

}  // namespace bitsmith
