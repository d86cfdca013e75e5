#include "tokenizer/utf8.h"

#include <utf8proc.h>

namespace bitsmith {

void append_utf8(std::string& out, char32_t code_point) {
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), bytes);
  out.append(reinterpret_cast<const char*>(bytes), length);
}

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Unit unit = next_utf8(text);
    if (unit.state != Utf8Unit::State::kWhole) return false;
    text.remove_prefix(unit.length);
  }
  return true;
}

std::string repair_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Unit unit = next_utf8(text);
    if (unit.state == Utf8Unit::State::kWhole)
      out.append(text.substr(0, unit.length));
    else
      append_utf8(out, unit.code_point);
    text.remove_prefix(unit.length);
  }
  return out;
}

namespace {
utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}
}  // namespace

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  const auto k = category(c);
  return c == 0x85 || k == UTF8PROC_CATEGORY_ZS || k == UTF8PROC_CATEGORY_ZL ||
         k == UTF8PROC_CATEGORY_ZP;
}

bool is_numeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  const auto k = category(c);
  return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

bool is_punctuation(char32_t c) {
  if (c < 0x80)
    return c > ' ' && c < 0x7F && !is_numeric(c) && !((c | 32) >= 'a' && (c | 32) <= 'z');
  const auto k = category(c);
  return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

bool is_word_character(char32_t c) {
  const auto k = category(c);
  return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_ME) || k == UTF8PROC_CATEGORY_ND ||
         k == UTF8PROC_CATEGORY_PC;
}

size_t leading_space(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const Utf8Unit unit = next_utf8(text.substr(i));
    if (!is_white_space(unit.code_point)) break;
    i += unit.length;
  }
  return i;
}

namespace {
size_t start_of_last(std::string_view text) {
  size_t i = text.size() - 1;
  while (i > 0 && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) --i;
  return i;
}
}  // namespace

char32_t last_code_point(std::string_view text) {
  return next_utf8(text.substr(start_of_last(text))).code_point;
}

size_t trailing_space(std::string_view text) {
  const size_t size = text.size();
  while (!text.empty() && is_white_space(last_code_point(text)))
    text.remove_suffix(text.size() - start_of_last(text));
  return size - text.size();
}

}  // namespace bitsmith
