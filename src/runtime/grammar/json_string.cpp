#include "runtime/grammar/json_string.h"

namespace bitsmith {
namespace {

using enum StringState;

// `next` where the byte is in [least, most].
StringState within(unsigned char byte, unsigned char least, unsigned char most, StringState next) {
  return byte >= least && byte <= most ? next : kRefused;
}
bool is_hex(unsigned char byte) {
  return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f') ||
         (byte >= 'A' && byte <= 'F');
}
StringState hex(unsigned char byte, StringState next) { return is_hex(byte) ? next : kRefused; }
bool is_d(unsigned char byte) { return byte == 'd' || byte == 'D'; }

StringState begin_character(unsigned char byte) {
  if (byte == '\\') return kEscape;
  if (byte < 0x20 || byte == '"') return kRefused;
  if (byte < 0x80) return kBody;
  if (byte < 0xC2) return kRefused;
  if (byte < 0xE0) return kRest1;
  if (byte == 0xE0) return kAfterE0;
  if (byte == 0xED) return kAfterEd;
  if (byte < 0xF0) return kRest2;
  if (byte == 0xF0) return kAfterF0;
  if (byte == 0xF4) return kAfterF4;
  return byte < 0xF4 ? kRest3 : kRefused;
}

StringState begin_escape(unsigned char byte) {
  switch (byte) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
      return kBody;
    case 'u':
      return kHex4;
    default:
      return kRefused;
  }
}

// The second digit of a code unit D...: above 7 it is a surrogate.
StringState after_d(unsigned char byte) {
  if (byte >= '0' && byte <= '7') return kHex2;
  return byte == '8' || byte == '9' || byte == 'a' || byte == 'b' || byte == 'A' || byte == 'B'
             ? kHigh2
             : kRefused;
}

StringState low_second(unsigned char byte) {
  return (byte >= 'c' && byte <= 'f') || (byte >= 'C' && byte <= 'F') ? kLow2 : kRefused;
}

}  // namespace

StringState next_string_state(StringState state, unsigned char byte) {
  switch (state) {
    case kBody:
      return begin_character(byte);
    case kRest1:
      return within(byte, 0x80, 0xBF, kBody);
    case kRest2:
      return within(byte, 0x80, 0xBF, kRest1);
    case kRest3:
      return within(byte, 0x80, 0xBF, kRest2);
    case kAfterE0:
      return within(byte, 0xA0, 0xBF, kRest1);
    case kAfterEd:
      return within(byte, 0x80, 0x9F, kRest1);
    case kAfterF0:
      return within(byte, 0x90, 0xBF, kRest2);
    case kAfterF4:
      return within(byte, 0x80, 0x8F, kRest2);
    case kEscape:
      return begin_escape(byte);
    case kHex4:
      return is_d(byte) ? kAfterD : hex(byte, kHex3);
    case kHex3:
      return hex(byte, kHex2);
    case kHex2:
      return hex(byte, kHex1);
    case kHex1:
      return hex(byte, kBody);
    case kAfterD:
      return after_d(byte);
    case kHigh2:
      return hex(byte, kHigh1);
    case kHigh1:
      return hex(byte, kLowEscape);
    case kLowEscape:
      return byte == '\\' ? kLowU : kRefused;
    case kLowU:
      return byte == 'u' ? kLowD : kRefused;
    case kLowD:
      return is_d(byte) ? kLowSecond : kRefused;
    case kLowSecond:
      return low_second(byte);
    case kLow2:
      return hex(byte, kLow1);
    case kLow1:
      return hex(byte, kBody);
    case kRefused:
      break;
  }
  return kRefused;
}

}  // namespace bitsmith
