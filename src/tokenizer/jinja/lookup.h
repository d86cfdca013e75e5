// Parts of values: object.name, object[key], object[begin:end:step].
#pragma once
#include <optional>
#include <string_view>

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/interpreter.h"

namespace bitsmith::jinja {

// A method of a string, list, tuple or dict; null if there is none of this name.
const Builtin* find_method(const Value& object, std::string_view name);
// Calls one that was found. Most look at a whole string, so that is what a call costs.
Value call_method(Interpreter& run, std::string_view name, const Builtin& method, Value object,
                  Arguments arguments);
// A method comes before an item of the same name. What is not there is undefined.
Value attribute_of(Interpreter& run, const Value& object, std::string_view name);
// An item comes before a method.
Value item_of(Interpreter& run, const Value& object, const Value& key);
// None stands for what is not given.
Value slice_of(Interpreter& run, const Value& object, const Value& begin, const Value& end,
               const Value& step);
// The value at the end of a path as filters take it: "message.role", "0.name", 1.
Value value_at_path(Interpreter& run, Value value, const Value& path);

}  // namespace bitsmith::jinja
