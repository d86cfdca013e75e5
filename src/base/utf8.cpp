#include "base/utf8.h"

namespace bitsmith {

Utf8Unit next_utf8(std::string_view text) {
  using State = Utf8Unit::State;
  constexpr char32_t kReplacement = 0xFFFD;
  const auto byte = [&](int i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, State::kWhole};
  // Table 3-7 of the standard: the second byte has a narrower range after E0, ED, F0, F4.
  int length = 0;
  unsigned char low = 0x80, high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {kReplacement, 1, State::kInvalid};
  }
  char32_t code_point = lead & (0x7F >> length);
  for (int i = 1; i < length; ++i) {
    if (static_cast<size_t>(i) == text.size()) return {kReplacement, i, State::kIncomplete};
    if (byte(i) < low || byte(i) > high) return {kReplacement, i, State::kInvalid};
    code_point = code_point << 6 | (byte(i) & 0x3F);
    low = 0x80;
    high = 0xBF;
  }
  return {code_point, length, State::kWhole};
}

}  // namespace bitsmith
