// The commands that bitsmith alone has.
#pragma once
#include <CLI/CLI.hpp>

namespace bitsmith {

void add_inspect(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_report(CLI::App& app);
void add_run(CLI::App& app);
void add_serve(CLI::App& app);  // where the build has cpp-httplib
void add_pack(CLI::App& app);
void add_bench(CLI::App& app);

}  // namespace bitsmith
