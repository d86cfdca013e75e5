// What every subcommand shares: the common options, and how a command is registered.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "base/terminal.h"

namespace bitsmith {

// Filled by add_common_options() before the command's function runs.
struct CommonOptions {
  int threads = 0;  // 0: all that this process may use
  uint64_t seed = 0;
  bool quiet = false;
  bool json = false;  // stdout carries one JSON object and nothing else
};

// Adds --threads --seed --quiet --json to a subcommand.
void add_common_options(CLI::App& command, CommonOptions& options);
// The check of an option that counts something: `least` or more.
inline CLI::Range count_from(int64_t least) { return {least, int64_t{1} << 40}; }
// Of --parse-special, wherever texts are read.
inline constexpr const char* kParseSpecialHelp =
    "Special tokens that plain text spells out, as <|im_end|>, are parsed; otherwise they stay "
    "text";
// Where this program's messages and progress go.
Terminal& terminal();
// Raised by SIGINT and SIGTERM.
CancelFlag& interrupt_flag();
// The terminal, the interrupt flag, the seed, and options.threads or default_threads().
RunContext run_context(const CommonOptions& options);
// Standard output that cannot be written: a full disk, a closed pipe.
class OutputError : public Error {
 public:
  using Error::Error;
};
// Writes to standard output at once. Throws OutputError with the system's reason.
void print(std::string_view text);
// Shows a message on the terminal. From any thread.
void say(Severity severity, const std::string& message);
// Prints a result: the JSON object with --json, else `text`. Throws OutputError. The object gets
// `warnings`, a list of those said so far, where there are any; bytes that are not UTF-8 become
// U+FFFD in it.
void print_result(const CommonOptions& options, const OrderedJson& json, const std::string& text);

// printf into a string of at most 511 bytes.
template <typename... Args>
std::string format(const char* pattern, Args... args) {
  char text[512];
  std::snprintf(text, sizeof(text), pattern, args...);
  return text;
}

// Each defined in the file of its name; registers the subcommand and its callback. A callback
// throws Error or UsageError; main() reports it.
void add_compress(CLI::App& app);
void add_inspect(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_logits(CLI::App& app);
void add_quantize(CLI::App& app);
void add_hessian(CLI::App& app);
void add_layer(CLI::App& app);
void add_tune(CLI::App& app);
void add_eval(CLI::App& app);
void add_report(CLI::App& app);
void add_run(CLI::App& app);
void add_serve(CLI::App& app);  // where the build has cpp-httplib
void add_pack(CLI::App& app);
void add_bench(CLI::App& app);

}  // namespace bitsmith
