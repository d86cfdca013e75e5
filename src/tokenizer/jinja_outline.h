// A Jinja template boiled down to one line of canonical text, so that templates which differ only
// in layout and spelling compare equal.
#pragma once
#include <optional>
#include <string>

namespace bitsmith {

// The quotation mark of the outline's strings, a character that is in no accepted template.
constexpr char kOutlineQuote = '\x01';

// Statements become {%...%} with single spaces; strings have their escapes resolved and
// kOutlineQuote around them; x['y'] becomes x.y; text and {{...}} in a row become one {{a + b + c}}
// with neighboring strings joined. White space is trimmed as Hugging Face sets Jinja up
// (trim_blocks, lstrip_blocks). nullopt: the template is malformed or holds control characters.
std::optional<std::string> jinja_outline(const std::string& source);

}  // namespace bitsmith
