#include "tokenizer/charsmap.h"

#include <utf8proc.h>

#include "base/error.h"
#include "tokenizer/utf8.h"

namespace bitsmith {
namespace {

// A unit of a double array (darts-clone): bits 0..7 and 31 label, 8 has a value, 9..30 offset.
uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & 1u << 9) >> 6); }
uint32_t label_of(uint32_t unit) { return unit & (1u << 31 | 0xFF); }
bool has_value(uint32_t unit) { return (unit >> 8 & 1) != 0; }
constexpr uint32_t kValueMask = (1u << 31) - 1;

// Bytes of the first extended grapheme cluster.
size_t grapheme_length(std::string_view text) {
  int32_t state = 0;
  Utf8Unit unit = next_utf8(text);
  size_t length = static_cast<size_t>(unit.length);
  while (length < text.size()) {
    const Utf8Unit next = next_utf8(text.substr(length));
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(unit.code_point),
                                         static_cast<utf8proc_int32_t>(next.code_point), &state))
      break;
    length += static_cast<size_t>(next.length);
    unit = next;
  }
  return length;
}

}  // namespace

Charsmap::Charsmap(std::string_view bytes, const std::string& source) {
  const auto word = [&](size_t at) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i)
      value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[at + i])) << 8 * i;
    return value;
  };
  const size_t size = bytes.size() < 4 ? 0 : word(0);
  if (size < 4 || size % 4 != 0 || size > bytes.size() - 4)
    throw Error(source + ": the precompiled_charsmap is damaged: its trie is not whole");
  for (size_t at = 4; at < 4 + size; at += 4) units_.push_back(word(at));
  replacements_ = bytes.substr(4 + size);
}

std::optional<std::string_view> Charsmap::find(std::string_view text) const {
  size_t node = offset_of(units_[0]);
  for (const char c : text) {
    const uint32_t byte = static_cast<unsigned char>(c);
    if (byte == 0) break;
    node ^= byte;
    if (node >= units_.size() || label_of(units_[node]) != byte) break;
    const uint32_t unit = units_[node];
    node ^= offset_of(unit);
    if (!has_value(unit)) continue;
    if (node >= units_.size()) break;
    const size_t at = units_[node] & kValueMask;
    if (at >= replacements_.size()) break;
    const std::string_view rest = std::string_view(replacements_).substr(at);
    const std::string_view found = rest.substr(0, rest.find('\0'));
    if (!is_valid_utf8(found)) break;
    return found;
  }
  return std::nullopt;
}

std::string Charsmap::apply(std::string_view text, Stretches& stretches) const {
  constexpr size_t kWholeGrapheme = 6;
  const size_t size = text.size();
  std::string out;
  out.reserve(size);
  while (!text.empty()) {
    std::string_view grapheme = text.substr(0, grapheme_length(text));
    text.remove_prefix(grapheme.size());
    if (grapheme.size() < kWholeGrapheme)
      if (const auto found = find(grapheme)) {
        out += *found;
        stretches.rewritten(size - text.size(), out.size());
        continue;
      }
    while (!grapheme.empty()) {
      const std::string_view character =
          grapheme.substr(0, static_cast<size_t>(next_utf8(grapheme).length));
      grapheme.remove_prefix(character.size());
      out += find(character).value_or(character);
      stretches.rewritten(size - text.size() - grapheme.size(), out.size());
    }
  }
  return out;
}

}  // namespace bitsmith
