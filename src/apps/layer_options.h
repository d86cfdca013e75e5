// Options of one-shot quantizers, the same for `quantize` and `layer`.
#pragma once
#include <CLI/CLI.hpp>

#include "compressor/quantize/quantizer.h"

namespace bitsmith {

// Adds --damping, --act-order, --rounds, ... to a subcommand.
void add_layer_options(CLI::App& command, QuantizeOptions& options);

}  // namespace bitsmith
