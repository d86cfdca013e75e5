#include "evaluate/white_space.h"

#include "base/utf8.h"

namespace bitsmith {
namespace {

// Unicode 15: bidirectional type WS, B or S, or category Zs.
bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

}  // namespace

std::string_view strip_end(std::string_view text) {
  while (!text.empty()) {
    size_t last = text.size() - 1;
    while (last > 0 && (static_cast<unsigned char>(text[last]) & 0xC0u) == 0x80u) --last;
    const Utf8Unit unit = next_utf8(text.substr(last));
    if (unit.state != Utf8Unit::State::kWhole || last + unit.length != text.size() ||
        !is_space(unit.code_point)) {
      break;
    }
    text = text.substr(0, last);
  }
  return text;
}

std::string_view strip(std::string_view text) {
  text = strip_end(text);
  while (!text.empty()) {
    const Utf8Unit unit = next_utf8(text);
    if (unit.state != Utf8Unit::State::kWhole || !is_space(unit.code_point)) break;
    text.remove_prefix(static_cast<size_t>(unit.length));
  }
  return text;
}

}  // namespace bitsmith
