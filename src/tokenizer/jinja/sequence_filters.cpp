// Filters that order, group and cut sequences.
#include <algorithm>

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/lookup.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/print.h"
#include "tokenizer/jinja/strings.h"

namespace bitsmith::jinja {
namespace {

Values input_items(Interpreter& run, const Values& a) { return items_of(a[0], run.budget()); }

Value ignoring_case(const Value& value) {
  return value.text() ? Value(lower(*value.text())) : value;
}

Value length(Interpreter& run, Values& a) {
  run.budget().spend(a[0].text() ? a[0].size() : 1);
  if (a[0].text()) return a[0].text()->length();
  if (a[0].dict()) return a[0].dict()->entries().size();
  if (a[0].is_undefined()) return 0;
  if (!a[0].sequence() || a[0].is(Sequence::Kind::kGenerator))
    throw Failure(concat("object of type '", a[0].type_name(), "' has no len()"));
  return a[0].sequence()->items.size();
}

Value list(Interpreter& run, Values& a) { return Value::list(input_items(run, a)); }

Value first(Interpreter& run, Values& a) {
  if (a[0].is(Sequence::Kind::kGenerator)) {  // the others stay
    Sequence& generator = *a[0].sequence();
    if (generator.used < generator.items.size()) return generator.items[generator.used++];
  } else {
    const Values items = input_items(run, a);
    if (!items.empty()) return items[0];
  }
  return Value::undefined("No first item, sequence was empty.");
}

Value last(Interpreter& run, Values& a) {
  if (a[0].is(Sequence::Kind::kGenerator)) throw Failure("'generator' object is not reversible");
  const Values items = input_items(run, a);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value reverse(Interpreter& run, Values& a) {
  if (a[0].text()) return slice_of(run, a[0], Value(), Value(), Value(-1));
  Values items = input_items(run, a);
  std::reverse(items.begin(), items.end());
  return Value::generator(std::move(items));
}

Value join_filter(Interpreter& run, Values& a) {
  std::vector<Text> parts;
  for (Value& item : input_items(run, a))
    parts.push_back(to_text(value_at_path(run, std::move(item), a[2]), run.budget()));
  return join(to_text(a[1], run.budget()), parts, run.budget());
}

// The keys of a sort: values at paths "a,b.c", without case unless asked for.
Value sort_key(Interpreter& run, const Value& item, const Value& attribute, bool case_sensitive) {
  Values keys;
  const auto add = [&](const Value& path) {
    const Value key = value_at_path(run, item, path);
    keys.push_back(case_sensitive ? key : ignoring_case(key));
  };
  if (attribute.text()) {
    for (const Text& path : split(*attribute.text(), Text(","), -1)) add(path);
  } else {
    add(attribute);
  }
  return Value::list(std::move(keys));
}

struct Keyed {
  Value key, item;
};

void sort_by_key(Interpreter& run, std::vector<Keyed>& entries, bool reversed) {
  size_t rounds = 1, size = 0;
  for (size_t n = entries.size(); n > 1; n /= 2) ++rounds;
  for (const Keyed& entry : entries) size += entry.key.size();
  run.budget().spend(Budget::product(size, rounds));
  // Python keeps the order of equal ones in both directions.
  std::stable_sort(entries.begin(), entries.end(), [&](const Keyed& a, const Keyed& b) {
    return reversed ? less(b.key, a.key) : less(a.key, b.key);
  });
}

Values items_of_keyed(std::vector<Keyed> entries) {
  Values items;
  for (Keyed& entry : entries) items.push_back(std::move(entry.item));
  return items;
}

Value sort(Interpreter& run, Values& a) {
  std::vector<Keyed> entries;
  for (Value& item : input_items(run, a)) {
    Value key = sort_key(run, item, a[3], a[2].truth());
    entries.push_back({std::move(key), std::move(item)});
  }
  sort_by_key(run, entries, a[1].truth());
  return Value::list(items_of_keyed(std::move(entries)));
}

Value dict_sort(Interpreter& run, Values& a) {
  require_defined(a[0]);
  if (!a[0].dict()) throw Failure("dictsort() takes a dict");
  const std::string& by = text_argument(a[2]).bytes();
  if (by != "key" && by != "value")
    throw Failure("You can only sort by either \"key\" or \"value\"");
  std::vector<Keyed> entries;
  for (const auto& [name, value] : a[0].dict()->entries()) {
    const Value& key = by == "key" ? name : value;
    entries.push_back({a[1].truth() ? key : ignoring_case(key), Value::tuple({name, value})});
  }
  sort_by_key(run, entries, a[3].truth());
  return Value::list(items_of_keyed(std::move(entries)));
}

Value items(Interpreter& run, Values& a) {
  if (a[0].is_undefined()) return Value::generator({});
  if (!a[0].dict()) throw Failure("Can only get item pairs from a mapping.");
  run.budget().spend(a[0].dict()->entries().size());
  return Value::generator(a[0].dict()->items());
}

Value unique(Interpreter& run, Values& a) {
  Dict seen;
  Values kept;
  for (Value& item : input_items(run, a)) {
    const Value path = value_at_path(run, item, a[2]);
    const Value key = a[1].truth() ? path : ignoring_case(path);
    if (seen.find(key)) continue;
    seen.set(key, Value());
    kept.push_back(std::move(item));
  }
  return Value::generator(std::move(kept));
}

// The least, or the greatest, item by its key.
template <bool greatest>
Value extreme(Interpreter& run, Values& a) {
  std::optional<Keyed> best;
  for (Value& item : input_items(run, a)) {
    const Value path = value_at_path(run, item, a[2]);
    Value key = a[1].truth() ? path : ignoring_case(path);
    if (!best || (greatest ? less(best->key, key) : less(key, best->key)))
      best = Keyed{std::move(key), std::move(item)};
  }
  return best ? best->item : Value::undefined("No aggregated item, sequence was empty.");
}

Value sum(Interpreter& run, Values& a) {
  Value total = a[2];
  for (Value& item : input_items(run, a))
    total = binary_operation("+", total, value_at_path(run, std::move(item), a[1]), run.budget());
  return total;
}

Value group_by(Interpreter& run, Values& a) {
  std::vector<Keyed> entries;
  const auto at_path = [&](const Value& item) {
    const Value value = value_at_path(run, item, a[1]);
    return value.is_undefined() && !a[2].is_none() ? a[2] : value;
  };
  for (Value& item : input_items(run, a)) {
    const Value value = at_path(item);
    entries.push_back({a[3].truth() ? value : ignoring_case(value), std::move(item)});
  }
  sort_by_key(run, entries, false);
  Values groups;
  for (size_t begin = 0, end = 0; begin < entries.size(); begin = end) {
    Values members;
    for (; end < entries.size() && equals(entries[end].key, entries[begin].key); ++end)
      members.push_back(entries[end].item);
    if (end == begin) throw Failure("groupby() by a value that is not equal to itself");
    groups.push_back(Value::tuple({at_path(members[0]), Value::list(std::move(members))}));
  }
  return Value::list(std::move(groups));
}

size_t positive_count(const Value& value) {
  const int64_t count = integer_argument(value);
  if (count < 1) throw Failure("a count of at least 1 is needed");
  return static_cast<size_t>(count);
}

Value batch(Interpreter& run, Values& a) {
  const size_t size = positive_count(a[1]);
  Values rows, row;
  for (Value& item : input_items(run, a)) {
    if (row.size() == size) rows.push_back(Value::list(std::exchange(row, {})));
    row.push_back(std::move(item));
  }
  if (row.empty()) return Value::generator(std::move(rows));
  if (!a[2].is_none()) {
    run.budget().spend(size);
    row.resize(size, a[2]);
  }
  rows.push_back(Value::list(std::move(row)));
  return Value::generator(std::move(rows));
}

Value slice_filter(Interpreter& run, Values& a) {
  const Values all = input_items(run, a);
  const size_t slices = positive_count(a[1]);
  run.budget().spend(slices);
  Values result;
  size_t at = 0;
  for (size_t i = 0; i < slices; ++i) {
    const bool longer = i < all.size() % slices;
    const size_t count = all.size() / slices + (longer ? 1 : 0);
    Values part(all.begin() + static_cast<std::ptrdiff_t>(at),
                all.begin() + static_cast<std::ptrdiff_t>(at + count));
    at += count;
    if (!a[2].is_none() && !longer) part.push_back(a[2]);
    result.push_back(Value::list(std::move(part)));
  }
  return Value::generator(std::move(result));
}

}  // namespace

BuiltinTable sequence_filters() {
  const Value none, no = false;
  const std::vector<Builtin::Parameter> alone = {{"value"}},
                                        by_key = {
                                            {"value"}, {"case_sensitive", no}, {"attribute", none}};
  return {
      {"length", {alone, length}},
      {"count", {alone, length}},
      {"list", {alone, list}},
      {"first", {alone, first}},
      {"last", {alone, last}},
      {"reverse", {alone, reverse}},
      {"items", {alone, items}},
      {"join", {{{"value"}, {"d", Value("")}, {"attribute", none}}, join_filter}},
      {"sort", {{{"value"}, {"reverse", no}, {"case_sensitive", no}, {"attribute", none}}, sort}},
      {"dictsort",
       {{{"value"}, {"case_sensitive", no}, {"by", Value("key")}, {"reverse", no}}, dict_sort}},
      {"unique", {by_key, unique}},
      {"min", {by_key, extreme<false>}},
      {"max", {by_key, extreme<true>}},
      {"sum", {{{"iterable"}, {"attribute", none}, {"start", Value(0)}}, sum}},
      {"groupby",
       {{{"value"}, {"attribute"}, {"default", none}, {"case_sensitive", no}}, group_by}},
      {"batch", {{{"value"}, {"linecount"}, {"fill_with", none}}, batch}},
      {"slice", {{{"value"}, {"slices"}, {"fill_with", none}}, slice_filter}},
  };
}

}  // namespace bitsmith::jinja
