// The commands that bitsmith-compressor alone has.
#pragma once
#include <CLI/CLI.hpp>

namespace bitsmith {

void add_compress(CLI::App& app);
void add_quantize(CLI::App& app);
void add_hessian(CLI::App& app);
void add_layer(CLI::App& app);
void add_tune(CLI::App& app);

}  // namespace bitsmith
