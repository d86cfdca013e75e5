// "did you mean": known names that resemble one that is not known.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace bitsmith {

// "; did you mean 'a' or 'b'?", or nothing where no known name is near.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& known);

// The first word of the command line that `app` does not know, as a sentence for the user: "unknown
// command 'quantise'; did you mean 'quantize'?". Empty where every word has its place. After a
// parse that failed.
std::string unknown_word(const CLI::App& app, int argc, const char* const* argv);

}  // namespace bitsmith
