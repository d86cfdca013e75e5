// Functions that every template has: filters, tests, methods, globals. Each says its parameters, as
// a Python signature does, and gets one value for each.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/value.h"

namespace bitsmith::jinja {

struct Builtin {
  struct Parameter {
    // "*" takes all other positional arguments as a tuple, "**" all other named ones as a dict.
    const char* name;
    std::optional<Value> fallback = {};
  };
  std::vector<Parameter> parameters;
  Value (*call)(Interpreter& run, Values& arguments);
};
using BuiltinTable = std::map<std::string, Builtin, std::less<>>;

const BuiltinTable& filters();         // the first argument is the value
const BuiltinTable& tests();           // likewise; their values are true or false
const BuiltinTable& string_methods();  // the first argument is the string
const BuiltinTable& list_methods();    // of tuples, too
const BuiltinTable& dict_methods();
const Value* find_global(std::string_view name);

// Tables that filters() and string_methods() are made of.
BuiltinTable text_filters();
BuiltinTable sequence_filters();
BuiltinTable selection_filters();
BuiltinTable value_filters();
BuiltinTable search_methods();
BuiltinTable shape_methods();
BuiltinTable character_methods();

// Gives every parameter its argument. Throws Failure naming the function.
Values bind(std::string_view function, const Builtin& builtin, Arguments arguments);
Value call_builtin(Interpreter& run, std::string_view name, const Builtin& builtin,
                   Arguments arguments);

// Arguments of a type; Failure for another.
const Text& text_argument(const Value& value);
int64_t integer_argument(const Value& value);
double number_argument(const Value& value);

}  // namespace bitsmith::jinja
