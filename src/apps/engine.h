// Which engine computes a model's logits: LibTorch (the reference) or the runtime.
#pragma once
#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>

#include "evaluate/language_model.h"

namespace bitsmith {

struct EngineOptions {
  std::string engine;  // "torch", "runtime"; empty: torch where this build has it
  std::string dtype;   // torch only: "float32", "bfloat16"; empty: float32
};

// Adds --engine and --dtype.
void add_engine_options(CLI::App& command, EngineOptions& options);
// The choice with defaults filled in; throws UsageError for what this build or engine has not.
EngineOptions resolve_engine(const EngineOptions& options);
// Loads MODEL into a resolved engine.
std::unique_ptr<LanguageModel> load_engine(const EngineOptions& resolved,
                                           const std::filesystem::path& model, int threads);

}  // namespace bitsmith
