// The options of the engine that computes logits.
#pragma once
#include <CLI/CLI.hpp>

#include "pipeline/engine_choice.h"

namespace bitsmith {

// Adds --engine and --dtype.
void add_engine_options(CLI::App& command, EngineChoice& options);

}  // namespace bitsmith
