#include "base/error.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <string_view>

#include "base/utf8.h"

namespace bitsmith {
namespace {

// Characters that move the cursor, color, ring, or turn the direction of what follows.
bool is_control(uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x061C || c == 0x200E || c == 0x200F ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

std::string escaped(std::string_view text, size_t limit, bool keep_lines) {
  std::string out;
  char code[16];
  for (size_t i = 0; i < text.size();) {
    const Utf8Unit next = next_utf8(text.substr(i));
    const bool whole = next.state == Utf8Unit::State::kWhole;
    const auto length = static_cast<size_t>(whole ? next.length : 1);
    const uint32_t c = next.code_point;
    std::string unit(text.substr(i, length));
    if (!whole) {
      std::snprintf(code, sizeof(code), "\\x%02x", static_cast<unsigned char>(text[i]));
      unit = code;
    } else if (is_control(c) && !(c == '\n' && keep_lines)) {
      std::snprintf(code, sizeof(code), c < 0x80 ? "\\x%02x" : "\\u%04x", c);
      unit = c == '\n' ? "\\n" : c == '\t' ? "\\t" : code;
    }
    if (out.size() + unit.size() > limit) {
      return out + concat("... (", text.size(), " bytes)");
    }
    out += unit;
    i += length;
  }
  return out;
}

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

std::string excerpt(std::string_view text, size_t limit) { return escaped(text, limit, false); }
std::string printable(std::string_view message) { return escaped(message, 8 << 10, true); }

std::string error_message(const std::exception& error) {
  if (dynamic_cast<const Error*>(&error)) return error.what();
  if (const auto* files = dynamic_cast<const std::filesystem::filesystem_error*>(&error))
    return printable(message_of(*files));
  if (dynamic_cast<const std::bad_alloc*>(&error)) return not_enough_memory("");
  // A LibTorch exception is the reason, where it was thrown, and a stack trace.
  std::string_view what = error.what();
  what = what.substr(0, what.find("Exception raised from "));
  what = what.substr(0, what.find('\n'));
  if (const size_t at = what.find("DefaultCPUAllocator: "); at != what.npos)
    return not_enough_memory(excerpt(what.substr(at + 21), 200));
  return concat("unexpected error: ", excerpt(what, 1000));
}

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "bitsmith: internal error: %s is false at %s:%d; please report this\n",
               condition, file, line);
  std::abort();
}

}  // namespace bitsmith
