#include "tokenizer/jinja/lookup.h"

#include <algorithm>

#include "tokenizer/jinja/objects.h"
#include "tokenizer/jinja/print.h"

namespace bitsmith::jinja {
namespace {

const BuiltinTable* methods_of(const Value& object) {
  if (object.text()) return &string_methods();
  if (object.dict()) return &dict_methods();
  const bool list = object.is(Sequence::Kind::kList) || object.is(Sequence::Kind::kTuple);
  return list ? &list_methods() : nullptr;
}

// What would change a value is out of reach, as in Jinja's immutable sandbox.
bool is_out_of_reach(const Value& object, std::string_view name) {
  static constexpr std::string_view kOfLists[] = {"append", "clear",  "extend",  "insert",
                                                  "pop",    "remove", "reverse", "sort"};
  static constexpr std::string_view kOfDicts[] = {"clear", "pop", "popitem", "setdefault",
                                                  "update"};
  if (object.is(Sequence::Kind::kList))
    return std::ranges::find(kOfLists, name) != std::end(kOfLists);
  return object.dict() && std::ranges::find(kOfDicts, name) != std::end(kOfDicts);
}

// The attribute of this name that is no item.
std::optional<Value> own_attribute(Interpreter& run, const Value& object, std::string_view name) {
  const bool internal = name.size() > 4 && name.starts_with("__") && name.ends_with("__");
  if (internal || is_out_of_reach(object, name))
    return Value::undefined(
        concat("access to attribute '", name, "' of '", object.type_name(), "' object is unsafe"));
  if (object.object()) return object.object()->attribute(run, name);
  const Builtin* method = find_method(object, name);
  if (!method) return std::nullopt;
  return run.make<Function>(std::string(name), [object, name = std::string(name), method](
                                                   Interpreter& run, Arguments arguments) {
    return call_method(run, name, *method, object, std::move(arguments));
  });
}

// A position counted from the end where it is negative; nothing where it is outside.
std::optional<size_t> position_in(int64_t index, size_t size) {
  const auto count = static_cast<int64_t>(size);
  if (index < -count || index >= count) return std::nullopt;
  return static_cast<size_t>(index < 0 ? index + count : index);
}

bool has_positions(const Value& object) {
  return object.is(Sequence::Kind::kList) || object.is(Sequence::Kind::kTuple) ||
         object.is(Sequence::Kind::kRange);
}

std::optional<Value> own_item(const Value& object, const Value& key) {
  if (object.dict()) {
    const Value* value = object.dict()->find(key);
    return value ? std::optional(*value) : std::nullopt;
  }
  if (!key.integer()) return std::nullopt;
  if (const Text* text = object.text()) {
    const auto at = position_in(*key.integer(), text->length());
    return at ? std::optional<Value>(text->slice(*at, *at + 1)) : std::nullopt;
  }
  if (!has_positions(object)) return std::nullopt;
  const Values& items = object.sequence()->items;
  const auto at = position_in(*key.integer(), items.size());
  return at ? std::optional(items[*at]) : std::nullopt;
}

struct Range {
  int64_t begin, end, step;
};

// Python's slice.indices().
Range slice_range(const Value& begin, const Value& end, const Value& step, int64_t size) {
  const int64_t by = step.is_none() ? 1 : integer_argument(step);
  if (by == 0) throw Failure("slice step cannot be zero");
  const int64_t least = by < 0 ? -1 : 0, most = by < 0 ? size - 1 : size;
  const auto bound = [&](const Value& value, int64_t fallback) {
    if (value.is_none()) return fallback;
    const int64_t index = integer_argument(value);
    return std::clamp(index < 0 ? std::max(index, -size) + size : index, least, most);
  };
  const auto from_start = [&](const Value& value) {
    // What lies before the start is -1 for a slice that goes backward.
    return by < 0 && value.integer() && *value.integer() < -size;
  };
  Range range = {bound(begin, by < 0 ? size - 1 : 0), bound(end, by < 0 ? -1 : size), by};
  if (from_start(begin)) range.begin = -1;
  if (from_start(end)) range.end = -1;
  return range;
}

template <typename Take>
void for_each_in(const Range& range, Take&& take) {
  const int64_t span = range.step > 0 ? range.end - range.begin : range.begin - range.end;
  const uint64_t step =
      range.step > 0 ? static_cast<uint64_t>(range.step) : 0 - static_cast<uint64_t>(range.step);
  for (uint64_t done = 0; span > 0 && done < static_cast<uint64_t>(span); done += step) {
    take(static_cast<size_t>(range.begin + (range.step > 0 ? 1 : -1) * static_cast<int64_t>(done)));
    if (step > static_cast<uint64_t>(span)) return;
  }
}

}  // namespace

const Builtin* find_method(const Value& object, std::string_view name) {
  const BuiltinTable* methods = methods_of(object);
  if (!methods) return nullptr;
  const auto found = methods->find(name);
  return found == methods->end() ? nullptr : &found->second;
}

Value call_method(Interpreter& run, std::string_view name, const Builtin& method, Value object,
                  Arguments arguments) {
  if (object.text()) run.budget().spend(object.size());
  arguments.positional.insert(arguments.positional.begin(), std::move(object));
  return call_builtin(run, name, method, std::move(arguments));
}

Value attribute_of(Interpreter& run, const Value& object, std::string_view name) {
  require_defined(object);
  if (auto value = own_attribute(run, object, name)) return *value;
  if (object.dict())
    if (const Value* value = object.dict()->find_text(name)) return *value;
  return Value::undefined(
      concat("'", object.type_description(), "' has no attribute '", name, "'"));
}

Value item_of(Interpreter& run, const Value& object, const Value& key) {
  require_defined(object);
  if (object.text()) run.budget().spend(object.size());  // its characters are counted
  if (auto value = own_item(object, key)) return *value;
  if (!key.text())
    return Value::undefined(concat("'", object.type_description(), "' has no element ",
                                   to_repr(key, run.budget()).bytes()));
  const std::string& name = key.text()->bytes();
  if (auto value = own_attribute(run, object, name)) return *value;
  return Value::undefined(
      concat("'", object.type_description(), "' has no attribute '", name, "'"));
}

Value slice_of(Interpreter& run, const Value& object, const Value& begin, const Value& end,
               const Value& step) {
  require_defined(object);
  if (const Text* text = object.text()) {
    run.budget().spend_bytes(text->bytes().size());
    const Range range = slice_range(begin, end, step, static_cast<int64_t>(text->length()));
    if (range.step == 1 && range.begin < range.end)
      return text->slice(static_cast<size_t>(range.begin), static_cast<size_t>(range.end));
    if (range.step == 1) return "";
    run.budget().spend(4 * text->bytes().size());
    std::vector<Text> characters;
    for_each_character(*text, [&](Text c) { characters.push_back(std::move(c)); });
    Text result;
    for_each_in(range, [&](size_t at) { result.append(characters[at]); });
    return result;
  }
  if (!has_positions(object))
    throw Failure(concat("'", object.type_name(), "' object has no slices"));
  const Values& items = object.sequence()->items;
  run.budget().spend(items.size());
  Values result;
  for_each_in(slice_range(begin, end, step, static_cast<int64_t>(items.size())),
              [&](size_t at) { result.push_back(items[at]); });
  return Value::sequence(object.sequence()->kind, std::move(result));
}

Value value_at_path(Interpreter& run, Value value, const Value& path) {
  if (!path.text()) return path.is_none() ? value : item_of(run, value, path);
  std::string_view rest = path.text()->bytes();
  for (;;) {
    const size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    const bool number =
        !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == part.npos;
    const Value key = number ? Value(std::stoi(std::string(part))) : Value(part);
    value = item_of(run, value, key);
    if (dot == rest.npos) return value;
    rest.remove_prefix(dot + 1);
  }
}

}  // namespace bitsmith::jinja
