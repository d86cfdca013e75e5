#include "tokenizer/byte_level.h"

#include <array>

#include "tokenizer/utf8.h"

namespace bitsmith {

const char* const kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<int16_t, 0x144> bytes;  // code point -> byte, or -1
  Alphabet() {
    bytes.fill(-1);
    char32_t next = 0x100;  // the code points for bytes that are not printable in Latin-1
    for (int b = 0; b < 256; ++b) {
      const bool printable =
          (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
      const char32_t c = printable ? static_cast<char32_t>(b) : next++;
      append_utf8(characters[b], c);
      bytes[c] = static_cast<int16_t>(b);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

std::string to_byte_level(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (const char c : bytes) out += alphabet().characters[static_cast<unsigned char>(c)];
  return out;
}

std::optional<std::string> from_byte_level(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Utf8Unit unit = next_utf8(text);
    if (unit.code_point >= alphabet().bytes.size() || alphabet().bytes[unit.code_point] < 0)
      return std::nullopt;
    out += static_cast<char>(alphabet().bytes[unit.code_point]);
    text.remove_prefix(unit.length);
  }
  return out;
}

}  // namespace bitsmith
