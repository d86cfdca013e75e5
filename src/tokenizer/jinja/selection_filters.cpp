// Filters that ask a test or a filter about each item: map, select, selectattr and their opposites.
#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/lookup.h"

namespace bitsmith::jinja {
namespace {

Arguments arguments_after(const Values& positional, size_t begin, const Dict& named) {
  Arguments arguments;
  for (size_t i = begin; i < positional.size(); ++i) arguments.positional.push_back(positional[i]);
  for (const auto& [name, value] : named.entries())
    arguments.named.emplace_back(name.text()->bytes(), value);
  return arguments;
}

// Items, or their attribute, that pass the named test (without one: that are true) or do not.
template <bool by_attribute, bool wanted>
Value select(Interpreter& run, Values& a) {
  const Values& given = a[1].sequence()->items;
  constexpr size_t kTest = by_attribute ? 1 : 0;
  if (given.size() < kTest) throw Failure("Missing parameter for attribute name");
  if (!a[0].truth()) return Value::generator({});  // also of None
  Values kept;
  for (Value& item : items_of(a[0], run.budget())) {
    run.budget().spend(1);
    Value asked = by_attribute ? value_at_path(run, item, given[0]) : item;
    const bool passes = given.size() == kTest
                            ? asked.truth()
                            : run.apply_test(text_argument(given[kTest]).bytes(), std::move(asked),
                                             arguments_after(given, kTest + 1, *a[2].dict()));
    if (passes == wanted) kept.push_back(std::move(item));
  }
  return Value::generator(std::move(kept));
}

Value map_attribute(Interpreter& run, const Values& items, const Dict& named) {
  const Value* fallback = named.find_text("default");
  if (named.entries().size() > (fallback ? 2u : 1u)) throw Failure("map() has an unknown argument");
  Values result;
  for (const Value& item : items) {
    run.budget().spend(1);
    Value value = value_at_path(run, item, *named.find_text("attribute"));
    if (value.is_undefined() && fallback && !fallback->is_none()) value = *fallback;
    result.push_back(std::move(value));
  }
  return Value::generator(std::move(result));
}

Value map(Interpreter& run, Values& a) {
  if (!a[0].truth()) return Value::generator({});  // also of None
  const Values& given = a[1].sequence()->items;
  const Dict& named = *a[2].dict();
  if (given.empty() && named.find_text("attribute"))
    return map_attribute(run, items_of(a[0], run.budget()), named);
  if (given.empty()) throw Failure("map requires a filter argument");
  Values result;
  for (Value& item : items_of(a[0], run.budget()))
    result.push_back(run.apply_filter(text_argument(given[0]).bytes(), std::move(item),
                                      arguments_after(given, 1, named)));
  return Value::generator(std::move(result));
}

}  // namespace

BuiltinTable selection_filters() {
  const std::vector<Builtin::Parameter> any = {{"value"}, {"*"}, {"**"}};
  return {
      {"map", {any, map}},
      {"select", {any, select<false, true>}},
      {"reject", {any, select<false, false>}},
      {"selectattr", {any, select<true, true>}},
      {"rejectattr", {any, select<true, false>}},
  };
}

const BuiltinTable& filters() {
  static const BuiltinTable table = [] {
    BuiltinTable all = text_filters();
    all.merge(sequence_filters());
    all.merge(selection_filters());
    all.merge(value_filters());
    return all;
  }();
  return table;
}

}  // namespace bitsmith::jinja
