// Which engine computes a model's logits: LibTorch (the reference) or the runtime.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/run_context.h"
#include "evaluate/language_model.h"

namespace bitsmith {

struct EngineChoice {
  // "torch" or "runtime".
  // Default: empty, torch where the compressor is there
  std::string engine;

  // Of torch only: "float32" or "bfloat16".
  // Default: empty, float32
  std::string dtype;
};

// The choice with defaults filled in. `has_torch`: whether the compressor is there. Throws
// UsageError for what the build or the engine has not.
EngineChoice resolve_engine(const EngineChoice& options, bool has_torch);

// Loads a model into an engine.
using EngineLoader = std::function<std::unique_ptr<LanguageModel>(
    const std::filesystem::path& model, const RunContext& context)>;

}  // namespace bitsmith
