#include "tokenizer/jinja/value.h"

#include <algorithm>

#include "tokenizer/jinja/budget.h"

namespace bitsmith::jinja {
namespace {

constexpr int kMaxNesting = 150;

int checked_nesting(int nesting) {
  if (nesting > kMaxNesting)
    throw Failure(concat("values are nested more than ", kMaxNesting, " deep"));
  return nesting;
}

// Values that hold one another often, as [x, x] in a row, would take for ever to compare.
size_t checked_size(size_t size) {
  constexpr size_t kMaxSize = 10'000'000;
  if (size > kMaxSize) throw Failure(concat("a value holds more than ", kMaxSize, " others"));
  return size;
}

bool equal_items(const Values& a, const Values& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), equals);
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.entries().size() != b.entries().size()) return false;
  return std::ranges::all_of(a.entries(), [&](const auto& entry) {
    const Value* other = b.find(entry.first);
    return other && equals(entry.second, *other);
  });
}

bool has_order(const Value& value) {
  return value.is(Sequence::Kind::kList) || value.is(Sequence::Kind::kTuple);
}

}  // namespace

Value::Value(Dict value) : data_(std::make_shared<const Dict>(std::move(value))) {}

Value Value::undefined(std::string reason) {
  Value value;
  value.data_ = Undefined{std::make_shared<const std::string>(std::move(reason))};
  return value;
}

Value Value::sequence(Sequence::Kind kind, Values items) {
  int nesting = 0;
  size_t size = 1;
  for (const Value& item : items) {
    nesting = std::max(nesting, item.nesting());
    size += item.size();
  }
  auto sequence = std::make_shared<Sequence>();
  sequence->kind = kind;
  sequence->items = std::move(items);
  sequence->nesting = checked_nesting(nesting + 1);
  sequence->size = checked_size(size);
  Value value;
  value.data_ = std::move(sequence);
  return value;
}

Value Value::foreign(const OrderedJson& json) {
  if (json.is_string()) return Text::foreign(json.get_ref<const std::string&>());
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_unsigned() && !json_fits<int64_t>(Json(json)))
    throw Failure(concat("the number ", json.dump(), " is beyond 64 bits"));
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number_float()) return json.get<double>();
  if (json.is_array()) {
    Values items;
    for (const OrderedJson& item : json) items.push_back(foreign(item));
    return list(std::move(items));
  }
  if (!json.is_object()) return {};
  Dict dict;
  for (const auto& [key, item] : json.items()) dict.set(Text::foreign(key), foreign(item));
  return dict;
}

Object* Value::object() const {
  const auto* pointer = std::get_if<Object*>(&data_);
  return pointer ? *pointer : nullptr;
}

std::optional<int64_t> Value::integer() const {
  if (const bool* truth = std::get_if<bool>(&data_)) return *truth ? 1 : 0;
  if (const int64_t* value = std::get_if<int64_t>(&data_)) return *value;
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (const double* value = std::get_if<double>(&data_)) return *value;
  if (const auto value = integer()) return static_cast<double>(*value);
  return std::nullopt;
}

bool Value::truth() const {
  if (const auto value = number()) return *value != 0;
  if (text()) return !text()->empty();
  if (const Sequence* s = sequence())
    return s->kind == Sequence::Kind::kGenerator || !s->items.empty();
  if (dict()) return !dict()->entries().empty();
  return object() != nullptr;
}

int Value::nesting() const {
  if (const Sequence* s = sequence()) return s->nesting;
  return dict() ? dict()->nesting() : 0;
}

size_t Value::size() const {
  if (text()) return 1 + text()->bytes().size() / 64;
  if (const Sequence* s = sequence()) return s->size;
  return dict() ? dict()->size() : 1;
}

const char* Value::type_name() const {
  static constexpr const char* kSequences[] = {"list",      "tuple",       "range",     "generator",
                                               "dict_keys", "dict_values", "dict_items"};
  if (is_none()) return "NoneType";
  if (is_undefined()) return "Undefined";
  if (is_bool()) return "bool";
  if (is_integer()) return "int";
  if (is_float()) return "float";
  if (text()) return "str";
  if (const Sequence* s = sequence()) return kSequences[static_cast<size_t>(s->kind)];
  return dict() ? "dict" : object()->type_name();
}

std::string Value::type_description() const {
  return is_none() ? "None" : std::string(type_name()) + " object";
}

void Dict::set(Value key, Value value) {
  if (key.is(Sequence::Kind::kList) || key.dict())
    throw Failure(concat("unhashable type: '", key.type_name(), "'"));
  nesting_ = checked_nesting(std::max({nesting_, 1 + key.nesting(), 1 + value.nesting()}));
  size_ = checked_size(size_ + key.size() + value.size());
  if (const auto index = index_of(key)) {
    Value& old = entries_[*index].second;
    size_ -= key.size() + old.size();
    old = std::move(value);
    return;
  }
  constexpr size_t kMaxOthers = 4096;  // they are searched one by one
  if (key.text())
    by_text_.emplace(key.text()->bytes(), entries_.size());
  else if (others_.size() < kMaxOthers)
    others_.push_back(entries_.size());
  else
    throw Failure(concat("a dict has more than ", kMaxOthers, " keys that are no strings"));
  entries_.emplace_back(std::move(key), std::move(value));
}

std::optional<size_t> Dict::index_of(const Value& key) const {
  if (const Text* text = key.text()) {
    const auto found = by_text_.find(text->bytes());
    return found == by_text_.end() ? std::nullopt : std::optional(found->second);
  }
  for (const size_t index : others_)
    if (equals(entries_[index].first, key)) return index;
  return std::nullopt;
}

const Value* Dict::find(const Value& key) const {
  const auto index = index_of(key);
  return index ? &entries_[*index].second : nullptr;
}

const Value* Dict::find_text(std::string_view key) const {
  const auto found = by_text_.find(std::string(key));
  return found == by_text_.end() ? nullptr : &entries_[found->second].second;
}

Values Dict::keys() const {
  Values result;
  for (const auto& entry : entries_) result.push_back(entry.first);
  return result;
}

Values Dict::values() const {
  Values result;
  for (const auto& entry : entries_) result.push_back(entry.second);
  return result;
}

Values Dict::items() const {
  Values result;
  for (const auto& [key, value] : entries_) result.push_back(Value::tuple({key, value}));
  return result;
}

std::string Object::print() const { return concat("<", type_name(), ">"); }

std::optional<Value> Object::attribute(Interpreter&, std::string_view) { return std::nullopt; }

Value Object::call(Interpreter&, Arguments) {
  throw Failure(concat("'", type_name(), "' object is not callable"));
}

bool equals(const Value& a, const Value& b) {
  if (a.integer() && b.integer()) return *a.integer() == *b.integer();
  if (a.number() && b.number()) return *a.number() == *b.number();
  if (a.text() && b.text()) return a.text()->bytes() == b.text()->bytes();
  if (a.is_none() || a.is_undefined()) return std::string_view(a.type_name()) == b.type_name();
  if (a.dict() && b.dict()) return equal_dicts(*a.dict(), *b.dict());
  if (a.object() || b.object()) return a.object() == b.object();
  const Sequence *s = a.sequence(), *t = b.sequence();
  if (!s || !t || s->kind != t->kind) return false;
  return s == t || (s->kind != Sequence::Kind::kGenerator && equal_items(s->items, t->items));
}

bool less(const Value& a, const Value& b, const char* sign) {
  if (a.integer() && b.integer()) return *a.integer() < *b.integer();
  if (a.number() && b.number()) return *a.number() < *b.number();
  if (a.text() && b.text()) return a.text()->bytes() < b.text()->bytes();
  require_defined(a);
  require_defined(b);
  if (!has_order(a) || !has_order(b) || a.sequence()->kind != b.sequence()->kind)
    throw Failure(concat("'", sign, "' not supported between instances of '", a.type_name(),
                         "' and '", b.type_name(), "'"));
  const Values &s = a.sequence()->items, &t = b.sequence()->items;
  const auto [i, j] = std::mismatch(s.begin(), s.end(), t.begin(), t.end(), equals);
  if (i == s.end() || j == t.end()) return s.size() < t.size();
  return less(*i, *j, sign);
}

Values items_of(const Value& value, Budget& budget) {
  if (value.is_undefined()) return {};
  if (Sequence* s = value.sequence()) {
    const size_t begin = s->used;
    budget.spend(s->items.size() - begin);
    if (s->kind == Sequence::Kind::kGenerator) s->used = s->items.size();
    return {s->items.begin() + static_cast<std::ptrdiff_t>(begin), s->items.end()};
  }
  if (value.dict()) {
    budget.spend(value.dict()->entries().size());
    return value.dict()->keys();
  }
  if (const Text* text = value.text()) {
    budget.spend(4 * text->bytes().size());  // each becomes a string of its own
    Values result;
    for_each_character(*text, [&](Text character) { result.emplace_back(std::move(character)); });
    return result;
  }
  throw Failure(concat("'", value.type_name(), "' object is not iterable"));
}

void require_defined(const Value& value) {
  if (value.is_undefined()) throw Failure(value.reason());
}

}  // namespace bitsmith::jinja
