// Which engine computes a model's logits: LibTorch (the reference) or the runtime.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "base/run_context.h"
#include "evaluate/language_model.h"

namespace bitsmith {

struct EngineChoice {
  // "torch" or "runtime".
  // Default: empty, torch where this build has it
  std::string engine;

  // Of torch only: "float32" or "bfloat16".
  // Default: empty, float32
  std::string dtype;
};

// Whether this build has LibTorch.
extern const bool kHasTorch;

// The choice with defaults filled in; throws UsageError for what this build or engine has not.
EngineChoice resolve_engine(const EngineChoice& options);
// Loads a model into a resolved engine.
std::unique_ptr<LanguageModel> load_engine(const EngineChoice& resolved,
                                           const std::filesystem::path& model,
                                           const RunContext& context);

}  // namespace bitsmith
