// How Bitsmith fails. User and file errors are exceptions that carry one clear sentence with the
// way out; our own bugs abort. Libraries never print or exit: main() turns an Error into a message
// and exit code 1, a UsageError into exit code 2.
#pragma once
#include <exception>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace bitsmith {

// A piece of text from a file (a name, a key, a value) for a message: one line, at most `limit`
// bytes and then the whole length; control characters and bytes that are not UTF-8 as escapes.
std::string excerpt(std::string_view text, size_t limit = 80);
// A whole message for a terminal: as excerpt(), but lines stay lines, and the limit is 8 KiB.
std::string printable(std::string_view message);

// The input or the machine is at fault: a missing file, a truncated tensor, a full disk. What a
// file says goes into the message through excerpt(); what() is printable() in any case.
class Error : public std::runtime_error {
 public:
  explicit Error(std::string_view message) : std::runtime_error(printable(message)) {}
};

// The request itself is at fault: impossible options, unknown names.
class UsageError : public Error {
 public:
  using Error::Error;
};

// Long work was stopped by its caller (run_context.h) after its state was saved.
class Interrupted : public Error {
 public:
  using Error::Error;
};

// concat("expected ", n, " rows") -> std::string.
template <typename... Args>
std::string concat(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

// What a user is told of an exception: one line for those of the standard library and of LibTorch,
// without stack traces; a bitsmith::Error's own text.
std::string error_message(const std::exception& error);

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace bitsmith

// A condition that only a bug of ours can break, never a user's input.
#define BITSMITH_CHECK(condition) \
  ((condition) ? (void)0 : ::bitsmith::check_failed(#condition, __FILE__, __LINE__))
