#include "tokenizer/jinja/strings.h"

#include <utf8proc.h>

#include <algorithm>
#include <limits>

#include "tokenizer/utf8.h"

namespace bitsmith::jinja {
namespace {

char32_t mapped(char32_t c, utf8proc_int32_t (*mapping)(utf8proc_int32_t)) {
  return static_cast<char32_t>(mapping(static_cast<utf8proc_int32_t>(c)));
}
char32_t lower_character(char32_t c) { return mapped(c, utf8proc_tolower); }
char32_t upper_character(char32_t c) { return mapped(c, utf8proc_toupper); }
char32_t title_character(char32_t c) { return mapped(c, utf8proc_totitle); }

// The upper case of the sharp s is two characters.
void append_mapped(std::string& out, char32_t from, char32_t to) {
  if (from == 0xDF && to != from)
    out += "SS";
  else
    append_utf8(out, to);
}

// Every character by what `mapping` makes of it, which is asked from left to right.
template <typename Mapping>
Text map_characters(const Text& text, Mapping&& mapping) {
  const std::string& bytes = text.bytes();
  Text result;
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Unit unit = next_utf8(std::string_view(bytes).substr(at));
    const size_t end = at + static_cast<size_t>(unit.length);
    std::string other;
    append_mapped(other, unit.code_point, mapping(unit.code_point));
    result.append(text.slice_bytes(at, end).with_bytes(other));
    at = end;
  }
  return text.is_safe() ? result.marked_safe() : result;
}

bool is_cased(char32_t c) { return lower_character(c) != c || upper_character(c) != c; }

bool is_line_end(char32_t c) {
  return (c >= '\n' && c <= '\r') || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

size_t left_count(std::string_view text, const std::optional<Text>& characters) {
  if (!characters) return space_at_start(text);
  size_t at = 0;
  while (at < text.size()) {
    const size_t size = character_size(text, at);
    if (characters->bytes().find(text.substr(at, size)) == std::string::npos) break;
    at += size;
  }
  return at;
}

size_t right_count(std::string_view text, const std::optional<Text>& characters) {
  if (!characters) return space_at_end(text);
  size_t end = text.size();
  while (end > 0) {
    size_t at = end - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    if (characters->bytes().find(text.substr(at, end - at)) == std::string::npos) break;
    end = at;
  }
  return text.size() - end;
}

int64_t at_most(int64_t maximum) {
  return maximum < 0 ? std::numeric_limits<int64_t>::max() : maximum;
}

// The first white space at or after `at`; its bytes.
Span next_space(std::string_view text, size_t at) {
  while (at < text.size()) {
    const size_t size = character_size(text, at);
    if (space_at_start(text.substr(at, size)) > 0)
      return {at, at + space_at_start(text.substr(at))};
    at += size;
  }
  return {text.size(), text.size()};
}

}  // namespace

Text lower(const Text& text) { return map_characters(text, lower_character); }
Text upper(const Text& text) { return map_characters(text, upper_character); }

Text swap_case(const Text& text) {
  return map_characters(text, [](char32_t c) {
    return lower_character(c) != c ? lower_character(c) : upper_character(c);
  });
}

Text capitalize(const Text& text) {
  bool first = true;
  return map_characters(text, [&](char32_t c) {
    return std::exchange(first, false) ? title_character(c) : lower_character(c);
  });
}

Text title(const Text& text) {
  bool inside = false;
  return map_characters(text, [&](char32_t c) {
    const char32_t other = inside ? lower_character(c) : title_character(c);
    inside = is_cased(c);
    return other;
  });
}

Text escape_html(const Text& text) {
  Text result;
  for_each_character(text, [&](const Text& character) {
    const std::string& c = character.bytes();
    const char* entity = c == "&"    ? "&amp;"
                         : c == "<"  ? "&lt;"
                         : c == ">"  ? "&gt;"
                         : c == "'"  ? "&#39;"
                         : c == "\"" ? "&#34;"
                                     : nullptr;
    result.append(entity ? character.with_bytes(entity) : character);
  });
  return result;
}

Text strip(const Text& text, const std::optional<Text>& characters, Ends ends) {
  const std::string& bytes = text.bytes();
  const size_t begin = ends == Ends::kRight ? 0 : left_count(bytes, characters);
  const auto rest = std::string_view(bytes).substr(begin);
  const size_t cut = ends == Ends::kLeft ? 0 : right_count(rest, characters);
  return text.slice_bytes(begin, bytes.size() - cut);
}

std::vector<Text> split_lines(const Text& text, bool keep_ends) {
  const std::string& bytes = text.bytes();
  std::vector<Text> lines;
  size_t begin = 0;
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Unit unit = next_utf8(std::string_view(bytes).substr(at));
    size_t end = at + static_cast<size_t>(unit.length);
    if (is_line_end(unit.code_point)) {
      if (unit.code_point == '\r' && end < bytes.size() && bytes[end] == '\n') ++end;
      lines.push_back(text.slice_bytes(begin, keep_ends ? end : at));
      begin = end;
    }
    at = end;
  }
  if (begin < bytes.size()) lines.push_back(text.slice_bytes(begin, bytes.size()));
  return lines;
}

std::vector<Text> split(const Text& text, const std::optional<Text>& separator, int64_t maximum) {
  const std::string& bytes = text.bytes();
  if (separator && separator->empty()) throw Failure("empty separator");
  int64_t cuts = at_most(maximum);
  std::vector<Text> parts;
  if (separator) {
    size_t begin = 0;
    for (size_t at = bytes.find(separator->bytes()); at != bytes.npos && cuts > 0; --cuts) {
      parts.push_back(text.slice_bytes(begin, at));
      begin = at + separator->bytes().size();
      at = bytes.find(separator->bytes(), begin);
    }
    parts.push_back(text.slice_bytes(begin, bytes.size()));
    return parts;
  }
  for (size_t begin = space_at_start(bytes); begin < bytes.size();) {
    const Span space = cuts-- > 0 ? next_space(bytes, begin) : Span{bytes.size(), bytes.size()};
    parts.push_back(text.slice_bytes(begin, space.begin));
    begin = space.end;
  }
  return parts;
}

std::vector<Text> split_from_right(const Text& text, const std::optional<Text>& separator,
                                   int64_t maximum) {
  if (maximum < 0) return split(text, separator, maximum);
  const std::string& bytes = text.bytes();
  if (separator && separator->empty()) throw Failure("empty separator");
  std::vector<Text> parts;
  size_t end = bytes.size();
  if (separator) {
    for (; maximum > 0 && end >= separator->bytes().size(); --maximum) {
      const size_t at = bytes.rfind(separator->bytes(), end - separator->bytes().size());
      if (at == bytes.npos) break;
      parts.push_back(text.slice_bytes(at + separator->bytes().size(), end));
      end = at;
    }
    parts.push_back(text.slice_bytes(0, end));
  } else {
    const std::vector<Text> words = split(text, std::nullopt, -1);
    const auto kept = std::min(static_cast<size_t>(maximum), words.size());
    for (size_t i = 0; i < kept; ++i) {
      parts.push_back(words[words.size() - 1 - i]);
      end -= space_at_end(std::string_view(bytes).substr(0, end)) + parts.back().bytes().size();
    }
    const Text rest = strip(text.slice_bytes(0, end), std::nullopt, Ends::kRight);
    if (kept < words.size()) parts.push_back(rest);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

Text replace(const Text& text, const Text& old, const Text& with, int64_t maximum, Budget& budget) {
  const std::string& bytes = text.bytes();
  int64_t left = at_most(maximum);
  Text result;
  const auto put = [&] {
    --left;
    budget.spend_bytes(with.bytes().size());
    budget.check_size(result.bytes().size());
    result.append(with);
  };
  size_t begin = 0;
  if (old.empty()) {  // between all characters
    for (; left > 0; begin += character_size(bytes, begin)) {
      put();
      if (begin == bytes.size()) break;
      result.append(text.slice_bytes(begin, begin + character_size(bytes, begin)));
    }
  } else {
    for (size_t at = bytes.find(old.bytes()); at != bytes.npos && left > 0;
         at = bytes.find(old.bytes(), begin)) {
      result.append(text.slice_bytes(begin, at));
      put();
      begin = at + old.bytes().size();
    }
  }
  result.append(text.slice_bytes(begin, bytes.size()));
  return result;
}

Text join(const Text& separator, const std::vector<Text>& parts, Budget& budget) {
  Text result;
  for (size_t i = 0; i < parts.size(); ++i) {
    budget.spend_bytes(separator.bytes().size() + parts[i].bytes().size());
    budget.check_size(result.bytes().size());
    if (i > 0) result.append(separator);
    result.append(parts[i]);
  }
  return result;
}

}  // namespace bitsmith::jinja
