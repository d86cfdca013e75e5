// Text for HTML and SVG.
#pragma once
#include <string>
#include <string_view>

namespace bitsmith {

// Safe between tags and inside quoted attributes, whatever it holds: & < > " ' as references,
// control characters but line ends and tabs, and bytes that are not UTF-8, as U+FFFD.
std::string html_text(std::string_view text);

// At most `limit` characters; what is left out at the end becomes an ellipsis. Not escaped.
std::string shortened(std::string_view text, size_t limit);

// Characters of UTF-8 text.
size_t character_count(std::string_view text);

}  // namespace bitsmith
