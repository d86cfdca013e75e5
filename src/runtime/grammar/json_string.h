// The inside of a JSON string (RFC 8259, section 7), byte by byte: well-formed UTF-8 (Unicode 15,
// table 3-7), escapes, and surrogates in pairs alone.
#pragma once
#include <cstdint>

namespace bitsmith {

enum class StringState : uint8_t {
  kBody,  // between characters
  // Continuation bytes that are to come; after E0, ED, F0 and F4 the next is restricted.
  kRest1,
  kRest2,
  kRest3,
  kAfterE0,
  kAfterEd,
  kAfterF0,
  kAfterF4,
  kEscape,  // after a backslash
  // Hexadecimal digits that are to come: of any code unit, after the first D, of a high surrogate.
  kHex4,
  kHex3,
  kHex2,
  kHex1,
  kAfterD,
  kHigh2,
  kHigh1,
  // The low surrogate that must follow: its \, its u, its D, its C to F, two digits.
  kLowEscape,
  kLowU,
  kLowD,
  kLowSecond,
  kLow2,
  kLow1,
  kRefused
};

// After one more byte. In kBody a quotation mark, which ends the string, is refused.
StringState next_string_state(StringState state, unsigned char byte);

}  // namespace bitsmith
