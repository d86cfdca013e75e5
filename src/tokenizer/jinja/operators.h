// Python's operators.
#pragma once
#include <string_view>

#include "tokenizer/jinja/budget.h"
#include "tokenizer/jinja/value.h"

namespace bitsmith::jinja {

// + - * / // % **. Throws Failure for types that have no such operator and integers beyond 64 bits.
Value binary_operation(std::string_view sign, const Value& left, const Value& right,
                       Budget& budget);
// `sign` is + or -.
Value signed_value(char sign, const Value& value);
// == != < > <= >= in, not in
bool compare(std::string_view sign, const Value& left, const Value& right, Budget& budget);
bool contains(const Value& values, const Value& value, Budget& budget);

}  // namespace bitsmith::jinja
