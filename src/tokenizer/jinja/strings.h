// What methods and filters do with strings, in the sense of Python's str.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "tokenizer/jinja/budget.h"
#include "tokenizer/jinja/text.h"

namespace bitsmith::jinja {

// Character by character, as Unicode's simple mappings have it.
Text lower(const Text& text);
Text upper(const Text& text);
Text swap_case(const Text& text);
// The first character upper, the others lower case.
Text capitalize(const Text& text);
// Words that begin where a letter follows none, as str.title() takes them.
Text title(const Text& text);

// With & < > ' " as HTML entities.
Text escape_html(const Text& text);

enum class Ends { kLeft, kRight, kBoth };
// Without white space, or without any of `characters`, at its ends.
Text strip(const Text& text, const std::optional<Text>& characters, Ends ends);
std::vector<Text> split_lines(const Text& text, bool keep_ends);
// maximum: cuts at most; negative: all. White space separates where no separator is given.
std::vector<Text> split(const Text& text, const std::optional<Text>& separator, int64_t maximum);
std::vector<Text> split_from_right(const Text& text, const std::optional<Text>& separator,
                                   int64_t maximum);
// The first `maximum` places, all where it is negative.
Text replace(const Text& text, const Text& old, const Text& with, int64_t maximum, Budget& budget);
Text join(const Text& separator, const std::vector<Text>& parts, Budget& budget);

}  // namespace bitsmith::jinja
