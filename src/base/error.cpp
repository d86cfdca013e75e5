#include "base/error.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <string_view>

namespace bitsmith {
namespace {

// The length of the valid UTF-8 character at the start of `text`, and the character; 0 if there is
// none.
size_t character_at(std::string_view text, uint32_t& code_point) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) {
    code_point = first;
    return 1;
  }
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || length > text.size()) return 0;
  code_point = first & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0u) != 0x80u) return 0;
    code_point = code_point << 6 | (byte(i) & 0x3Fu);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code_point >= 0xD800 && code_point < 0xE000;
  return code_point < kSmallest[length] || code_point > 0x10FFFF || surrogate ? 0 : length;
}

// Characters that move the cursor, color, ring, or turn the direction of what follows.
bool is_control(uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x061C || c == 0x200E || c == 0x200F ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

std::string escaped(std::string_view text, size_t limit, bool keep_lines) {
  std::string out;
  char code[16];
  for (size_t i = 0; i < text.size();) {
    uint32_t c = 0;
    const size_t length = character_at(text.substr(i), c);
    std::string unit(text.substr(i, length));
    if (length == 0) {
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
    i += length == 0 ? 1 : length;
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
