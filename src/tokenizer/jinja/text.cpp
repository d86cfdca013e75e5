#include "tokenizer/jinja/text.h"

#include <algorithm>

#include "tokenizer/utf8.h"

namespace bitsmith::jinja {
namespace {

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

Text::Text(std::string_view own) : bytes_(repair_utf8(own)) {}

Text Text::foreign(std::string_view text) {
  Text result(text);
  if (!result.empty()) result.foreign_.push_back({0, result.bytes_.size()});
  return result;
}

Text Text::marked_safe() const {
  Text result = *this;
  result.safe_ = true;
  return result;
}

void Text::append(const Text& text) {
  const size_t shift = bytes_.size();
  bytes_ += text.bytes_;
  for (const Span& span : text.foreign_) {
    if (!foreign_.empty() && foreign_.back().end == shift + span.begin)
      foreign_.back().end = shift + span.end;
    else
      foreign_.push_back({shift + span.begin, shift + span.end});
  }
}

void Text::append(std::string_view own) { bytes_ += own; }

Text Text::slice_bytes(size_t begin, size_t end) const {
  Text result;
  result.safe_ = safe_;
  if (begin >= end) return result;
  result.bytes_ = bytes_.substr(begin, end - begin);
  const auto first = std::partition_point(foreign_.begin(), foreign_.end(),
                                          [&](const Span& span) { return span.end <= begin; });
  for (auto span = first; span != foreign_.end() && span->begin < end; ++span)
    result.foreign_.push_back(
        {std::max(span->begin, begin) - begin, std::min(span->end, end) - begin});
  return result;
}

Text Text::with_bytes(std::string_view bytes) const {
  return foreign_.empty() ? Text(bytes) : foreign(bytes);
}

size_t Text::length() const {
  return bytes_.size() -
         static_cast<size_t>(std::count_if(bytes_.begin(), bytes_.end(), continues));
}

size_t Text::byte_of(size_t character) const {
  size_t at = 0;
  for (; at < bytes_.size() && character > 0; --character) at += character_size(bytes_, at);
  return at;
}

bool is_space_character(char32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

size_t space_at_start(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Unit unit = next_utf8(text.substr(at));
    if (!is_space_character(unit.code_point)) break;
    at += static_cast<size_t>(unit.length);
  }
  return at;
}

size_t space_at_end(std::string_view text) {
  const size_t size = text.size();
  while (!text.empty()) {
    size_t at = text.size() - 1;
    while (at > 0 && continues(text[at])) --at;
    if (!is_space_character(next_utf8(text.substr(at)).code_point)) break;
    text = text.substr(0, at);
  }
  return size - text.size();
}

size_t character_size(std::string_view text, size_t at) {
  size_t size = 1;
  while (at + size < text.size() && continues(text[at + size])) ++size;
  return size;
}

}  // namespace bitsmith::jinja
