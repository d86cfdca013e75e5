#include "base/error.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <string_view>

namespace bitsmith {
namespace {

std::string not_enough_memory(std::string_view what) {
  return concat("not enough memory", what.empty() ? "" : " (", what, what.empty() ? "" : ")",
                "; a smaller context, fewer tokens or fewer threads need less");
}

// "cannot create directories OUT: Permission denied"
std::string message_of(const std::filesystem::filesystem_error& error) {
  const std::string reason = error.code().message();
  std::string what = error.std::system_error::what();  // without the paths
  if (what.ends_with(concat(": ", reason))) what.resize(what.size() - reason.size() - 2);
  for (const auto& path : {error.path1(), error.path2()}) {
    if (!path.empty()) what = concat(what, ' ', path.string());
  }
  return concat(what, ": ", reason);
}

}  // namespace

std::string error_message(const std::exception& error) {
  if (dynamic_cast<const Error*>(&error)) return error.what();
  if (const auto* files = dynamic_cast<const std::filesystem::filesystem_error*>(&error))
    return message_of(*files);
  if (dynamic_cast<const std::bad_alloc*>(&error)) return not_enough_memory("");
  // A LibTorch exception is the reason, where it was thrown, and a stack trace.
  std::string_view what = error.what();
  what = what.substr(0, what.find("Exception raised from "));
  what = what.substr(0, what.find('\n'));
  if (const size_t at = what.find("DefaultCPUAllocator: "); at != what.npos)
    return not_enough_memory(what.substr(at + 21));
  return concat("unexpected error: ", what);
}

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "bitsmith: internal error: %s is false at %s:%d; please report this\n",
               condition, file, line);
  std::abort();
}

}  // namespace bitsmith
