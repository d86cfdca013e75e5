// The engines of a program, and the commands of both programs that take one by --engine.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>

#include "pipeline/engine_choice.h"

namespace bitsmith {

struct Engines {
  // Whether --engine torch is there; it is the default then.
  bool has_torch;

  // How a resolved choice loads a model. Does not return where another program has the engine: the
  // process becomes that one, so that nothing may be done or said before.
  std::function<EngineLoader(const EngineChoice& resolved)> loader;
};

// Adds --engine and --dtype.
void add_engine_options(CLI::App& command, EngineChoice& options, bool has_torch);

void add_logits(CLI::App& app, const Engines& engines);
void add_eval(CLI::App& app, const Engines& engines);

}  // namespace bitsmith
