#include "pipeline/report/html_text.h"

#include "base/utf8.h"

namespace bitsmith {
namespace {

constexpr const char* kReplacement = "\xEF\xBF\xBD";

// Those that HTML forbids, and those that turn the direction of the text that follows.
bool is_forbidden(char32_t c) {
  return (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0) ||
         (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || (c & 0xFFFE) == 0xFFFE;
}

std::string escaped(std::string_view unit) {
  if (unit == "&") return "&amp;";
  if (unit == "<") return "&lt;";
  if (unit == ">") return "&gt;";
  if (unit == "\"") return "&quot;";
  if (unit == "'") return "&#39;";
  return std::string(unit);
}

}  // namespace

std::string html_text(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Utf8Unit unit = next_utf8(text);
    const bool shown = unit.state == Utf8Unit::State::kWhole && !is_forbidden(unit.code_point);
    out += shown ? escaped(text.substr(0, static_cast<size_t>(unit.length))) : kReplacement;
    text.remove_prefix(static_cast<size_t>(unit.length));
  }
  return out;
}

std::string shortened(std::string_view text, size_t limit) {
  size_t at = 0, kept = 0;
  for (size_t count = 0; at < text.size(); ++count) {
    if (count == limit) return std::string(text.substr(0, kept)) + "\u2026";
    at += static_cast<size_t>(next_utf8(text.substr(at)).length);
    if (count + 1 < limit) kept = at;
  }
  return std::string(text);
}

size_t character_count(std::string_view text) {
  size_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(static_cast<size_t>(next_utf8(text).length));
  return count;
}

}  // namespace bitsmith
