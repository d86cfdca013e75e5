// UTF-8 (Unicode 15, section 3.9), one code point at a time.
#pragma once
#include <string_view>

namespace bitsmith {

struct Utf8Unit {
  enum class State { kWhole, kInvalid, kIncomplete };
  char32_t code_point;  // U+FFFD unless whole
  int length;           // bytes taken; of an ill-formed sequence its longest well-formed start
  State state;          // kIncomplete: the text ends inside a sequence that is well-formed so far
};

// The unit at the start of `text`, which is not empty.
Utf8Unit next_utf8(std::string_view text);

}  // namespace bitsmith
