// "did you mean": known names that resemble one that is not known.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

namespace bitsmith {

// The first word of the command line that `app` does not know, as a sentence for the user: "unknown
// command 'quantise'; did you mean 'quantize'?". Empty where every word has its place. After a
// parse that failed.
std::string unknown_word(const CLI::App& app, int argc, const char* const* argv);

}  // namespace bitsmith
