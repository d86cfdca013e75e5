#include "tokenizer/jinja/builtin.h"

#include <algorithm>

namespace bitsmith::jinja {
namespace {

Values take_from(Values& values, size_t begin) {
  const auto first = values.begin() + static_cast<std::ptrdiff_t>(std::min(begin, values.size()));
  Values rest(std::make_move_iterator(first), std::make_move_iterator(values.end()));
  values.erase(first, values.end());
  return rest;
}

std::optional<Value> take_named(Arguments& arguments, std::string_view name) {
  const auto found = std::ranges::find(
      arguments.named, name, [](const auto& entry) { return std::string_view(entry.first); });
  if (found == arguments.named.end()) return std::nullopt;
  Value value = std::move(found->second);
  arguments.named.erase(found);
  return value;
}

[[noreturn]] void wrong_type(const char* expected, const Value& value) {
  require_defined(value);
  throw Failure(concat("expected ", expected, ", found ", value.type_description()));
}

}  // namespace

Values bind(std::string_view function, const Builtin& builtin, Arguments arguments) {
  Values bound;
  size_t used = 0;
  for (const auto& [parameter, fallback] : builtin.parameters) {
    const std::string_view name = parameter;
    if (name == "*") {
      bound.push_back(Value::tuple(take_from(arguments.positional, used)));
    } else if (name == "**") {
      Dict rest;
      for (auto& [key, value] : arguments.named) rest.set(Text(key), std::move(value));
      arguments.named.clear();
      bound.emplace_back(std::move(rest));
    } else if (used < arguments.positional.size()) {
      bound.push_back(std::move(arguments.positional[used++]));
    } else if (auto value = take_named(arguments, name)) {
      bound.push_back(std::move(*value));
    } else if (fallback) {
      bound.push_back(*fallback);
    } else {
      throw Failure(concat(function, "() misses its argument '", name, "'"));
    }
  }
  if (used < arguments.positional.size())
    throw Failure(
        concat(function, "() takes fewer than ", arguments.positional.size(), " arguments"));
  if (!arguments.named.empty())
    throw Failure(
        concat(function, "() has no argument '", arguments.named[0].first, "' to be given"));
  return bound;
}

Value call_builtin(Interpreter& run, std::string_view name, const Builtin& builtin,
                   Arguments arguments) {
  Values bound = bind(name, builtin, std::move(arguments));
  return builtin.call(run, bound);
}

const Text& text_argument(const Value& value) {
  if (!value.text()) wrong_type("a string", value);
  return *value.text();
}

int64_t integer_argument(const Value& value) {
  if (!value.integer()) wrong_type("an integer", value);
  return *value.integer();
}

double number_argument(const Value& value) {
  if (!value.number()) wrong_type("a number", value);
  return *value.number();
}

}  // namespace bitsmith::jinja
