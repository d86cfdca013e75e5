// The options of the engine that computes logits.
#pragma once
#include <CLI/CLI.hpp>

#include "pipeline/engine.h"

namespace bitsmith {

// Adds --engine and --dtype.
void add_engine_options(CLI::App& command, EngineOptions& options);

}  // namespace bitsmith
