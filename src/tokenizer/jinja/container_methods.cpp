// Methods of lists, tuples and dicts that change nothing.
#include <algorithm>

#include "tokenizer/jinja/builtin.h"

namespace bitsmith::jinja {
namespace {

Value count_items(Interpreter& run, Values& a) {
  const Values& items = a[0].sequence()->items;
  run.budget().spend(a[0].size());
  return static_cast<int64_t>(
      std::ranges::count_if(items, [&](const Value& item) { return equals(item, a[1]); }));
}

Value index_of_item(Interpreter& run, Values& a) {
  const Values& items = a[0].sequence()->items;
  run.budget().spend(a[0].size());
  const auto found =
      std::ranges::find_if(items, [&](const Value& item) { return equals(item, a[1]); });
  if (found == items.end()) throw Failure("the value is not in the list");
  return static_cast<int64_t>(found - items.begin());
}

Value itself(Interpreter&, Values& a) { return a[0]; }

Value get(Interpreter&, Values& a) {
  const Value* value = a[0].dict()->find(a[1]);
  return value ? *value : a[2];
}

template <Sequence::Kind kind, Values (Dict::*part)() const>
Value view(Interpreter& run, Values& a) {
  run.budget().spend(a[0].dict()->entries().size());
  return Value::sequence(kind, (a[0].dict()->*part)());
}

}  // namespace

const BuiltinTable& list_methods() {
  static const BuiltinTable table = {
      {"count", {{{"self"}, {"value"}}, count_items}},
      {"index", {{{"self"}, {"value"}}, index_of_item}},
      {"copy", {{{"self"}}, itself}},
  };
  return table;
}

const BuiltinTable& dict_methods() {
  static const std::vector<Builtin::Parameter> alone = {{"self"}};
  static const BuiltinTable table = {
      {"get", {{{"self"}, {"key"}, {"default", Value()}}, get}},
      {"keys", {alone, view<Sequence::Kind::kKeys, &Dict::keys>}},
      {"values", {alone, view<Sequence::Kind::kValues, &Dict::values>}},
      {"items", {alone, view<Sequence::Kind::kItems, &Dict::items>}},
      {"copy", {alone, itself}},
  };
  return table;
}

}  // namespace bitsmith::jinja
