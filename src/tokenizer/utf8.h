// UTF-8 (Unicode 15, section 3.9): the repair of ill-formed text, and the few character classes
// that tokenizers cut at.
#pragma once
#include <string>
#include <string_view>

#include "base/utf8.h"

namespace bitsmith {

void append_utf8(std::string& out, char32_t code_point);
bool is_valid_utf8(std::string_view text);
// Every ill-formed sequence becomes U+FFFD.
std::string repair_utf8(std::string_view text);

bool is_white_space(char32_t c);         // the property White_Space
bool is_numeric(char32_t c);             // general category N*
bool is_punctuation(char32_t c);         // ASCII punctuation and symbols, general category P*
bool is_word_character(char32_t c);      // letters, marks, decimal digits, connectors: \w
size_t leading_space(std::string_view);  // bytes of white space at the start
size_t trailing_space(std::string_view);
// The last code point of valid, non-empty UTF-8.
char32_t last_code_point(std::string_view text);

}  // namespace bitsmith
