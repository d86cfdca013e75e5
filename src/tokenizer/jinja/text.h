// A string of a template that remembers which of its bytes came from outside the template: from
// messages, tools and variables. Positions and lengths are in characters (code points), as in
// Python.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/span.h"

namespace bitsmith::jinja {

class Text {
 public:
  Text() = default;
  // The template's own text. Bytes that are not UTF-8 become U+FFFD.
  explicit Text(std::string_view own);
  // Text from outside.
  static Text foreign(std::string_view text);

  const std::string& bytes() const { return bytes_; }
  bool empty() const { return bytes_.empty(); }
  // In order, disjoint, not touching.
  const std::vector<Span>& foreign_spans() const { return foreign_; }
  // Marked by the filter `safe`: added to it, other text has its HTML characters escaped.
  bool is_safe() const { return safe_; }
  Text marked_safe() const;

  void append(const Text& text);
  void append(std::string_view own);  // valid UTF-8
  // Bytes [begin, end), cut between characters.
  Text slice_bytes(size_t begin, size_t end) const;
  // A text of other bytes that is foreign where any part of this one is.
  Text with_bytes(std::string_view bytes) const;

  size_t length() const;
  // The byte at which a character begins; of length(), the end.
  size_t byte_of(size_t character) const;
  // Characters [begin, end).
  Text slice(size_t begin, size_t end) const { return slice_bytes(byte_of(begin), byte_of(end)); }

 private:
  std::string bytes_;
  std::vector<Span> foreign_;
  bool safe_ = false;
};

// White space in the sense of Python's str.isspace().
bool is_space_character(char32_t c);
// Bytes of white space at the start and at the end.
size_t space_at_start(std::string_view text);
size_t space_at_end(std::string_view text);
// The bytes of one character that begins at `at`.
size_t character_size(std::string_view text, size_t at);
template <typename Function>
void for_each_character(const Text& text, Function&& function) {
  const std::string& bytes = text.bytes();
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = character_size(bytes, at);
    function(text.slice_bytes(at, at + size));
    at += size;
  }
}

}  // namespace bitsmith::jinja
