// Values as text, as Python prints them.
#pragma once
#include <string>

#include "tokenizer/jinja/budget.h"
#include "tokenizer/jinja/value.h"

namespace bitsmith::jinja {

// str(value); an undefined value is empty.
Text to_text(const Value& value, Budget& budget);
// repr(value).
Text to_repr(const Value& value, Budget& budget);
// repr() of a float: the fewest digits that give the same number.
std::string float_text(double value);
// Whether Python prints a character as it is.
bool is_printable(char32_t c);

}  // namespace bitsmith::jinja
