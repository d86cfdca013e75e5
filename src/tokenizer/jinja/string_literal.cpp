#include "tokenizer/jinja/string_literal.h"

#include <charconv>

#include "tokenizer/utf8.h"

namespace bitsmith::jinja {
namespace {

constexpr std::string_view kSimple = "abfnrtv\\'\"";
constexpr std::string_view kMeaning = "\a\b\f\n\r\t\v\\'\"";

// Reads `count` digits at the start; takes them off.
std::optional<char32_t> take_code(std::string_view& rest, size_t count, int base) {
  unsigned code = 0;
  if (rest.size() < count) return std::nullopt;
  const auto read = std::from_chars(rest.data(), rest.data() + count, code, base);
  if (read.ec != std::errc() || read.ptr != rest.data() + count || code > 0x10FFFF)
    return std::nullopt;
  rest.remove_prefix(count);
  return static_cast<char32_t>(code);
}

size_t octal_digits(std::string_view text) {
  size_t count = 0;
  while (count < 3 && count < text.size() && text[count] >= '0' && text[count] <= '7') ++count;
  return count;
}

// A high surrogate may have its low half in the next escape; one alone is no character.
char32_t whole_character(char32_t code, std::string_view& rest) {
  if (code < 0xD800 || code > 0xDFFF) return code;
  std::string_view next = rest;
  if (code < 0xDC00 && next.starts_with("\\u")) {
    next.remove_prefix(2);
    if (const auto low = take_code(next, 4, 16); low && *low >= 0xDC00 && *low <= 0xDFFF) {
      rest = next;
      return 0x10000 + ((code - 0xD800) << 10) + (*low - 0xDC00);
    }
  }
  return 0xFFFD;
}

}  // namespace

std::optional<std::string> unescaped(std::string_view rest) {
  std::string out;
  while (!rest.empty()) {
    const char c = rest[0];
    rest.remove_prefix(1);
    if (c != '\\' || rest.empty()) {
      out += c;
      continue;
    }
    const char kind = rest[0];
    if (const size_t octal = octal_digits(rest); octal > 0) {
      append_utf8(out, *take_code(rest, octal, 8));
      continue;
    }
    rest.remove_prefix(1);
    if (const size_t simple = kSimple.find(kind); simple != kSimple.npos) {
      out += kMeaning[simple];
    } else if (kind == 'x' || kind == 'u' || kind == 'U') {
      const auto code = take_code(rest, kind == 'x' ? 2 : kind == 'u' ? 4 : 8, 16);
      if (!code) return std::nullopt;
      append_utf8(out, whole_character(*code, rest));
    } else if (kind == 'N') {
      return std::nullopt;  // characters by name
    } else if (kind != '\n') {
      out += {'\\', kind};
    }
  }
  return out;
}

}  // namespace bitsmith::jinja
