// The frame of both programs: command line, standard streams, errors, exit codes.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>

namespace bitsmith {

// For main(): parses the command line by the subcommands that `add_commands` adds, runs the one
// that is asked for, and reports what it throws. The exit code: 0; 2 for a wrong request; 130 for
// work that was interrupted; 1 for any other failure.
int run_program(int argc, char** argv, const std::function<void(CLI::App&)>& add_commands);

}  // namespace bitsmith
