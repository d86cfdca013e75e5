// How Bitsmith fails. User and file errors are exceptions that carry one clear sentence with the
// way out; our own bugs abort. Libraries never print or exit: main() turns an Error into a message
// and exit code 1, a UsageError into exit code 2.
#pragma once
#include <exception>
#include <sstream>
#include <stdexcept>
#include <string>

namespace bitsmith {

// The input or the machine is at fault: a missing file, a truncated tensor, a full disk.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The request itself is at fault: impossible options, unknown names.
class UsageError : public Error {
 public:
  using Error::Error;
};

// Long work was stopped by SIGINT or SIGTERM after its state was saved.
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
