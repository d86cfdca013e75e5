// White space at the ends of UTF-8 text, in the sense of Python's str.strip(): harnesses cut there.
#pragma once
#include <string_view>

namespace bitsmith {

// Text without the white space at its end; at both ends. Bytes that are not UTF-8 are no space.
std::string_view strip_end(std::string_view text);
std::string_view strip(std::string_view text);

}  // namespace bitsmith
