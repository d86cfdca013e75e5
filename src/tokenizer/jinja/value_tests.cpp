// `value is NAME`.
#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/print.h"

namespace bitsmith::jinja {
namespace {

using Check = bool (*)(const Value&);

template <Check check>
Value checked(Interpreter&, Values& a) {
  return check(a[0]);
}

bool is_defined(const Value& value) { return !value.is_undefined(); }
bool is_undefined(const Value& value) { return value.is_undefined(); }
bool is_none(const Value& value) { return value.is_none(); }
bool is_boolean(const Value& value) { return value.is_bool(); }
bool is_true(const Value& value) { return value.is_bool() && value.truth(); }
bool is_false(const Value& value) { return value.is_bool() && !value.truth(); }
bool is_integer(const Value& value) { return value.is_integer(); }
bool is_float(const Value& value) { return value.is_float(); }
bool is_number(const Value& value) { return value.is_number(); }
bool is_string(const Value& value) { return value.text() != nullptr; }
bool is_escaped(const Value& value) { return value.text() && value.text()->is_safe(); }
bool is_mapping(const Value& value) { return value.dict() != nullptr; }
bool is_callable(const Value& value) {
  return value.is_undefined() || (value.object() && value.object()->callable());
}
bool is_iterable(const Value& value) {
  return value.is_undefined() || value.text() || value.sequence() || value.dict();
}
// What has a length and items at places or keys; views of dicts have none.
bool is_sequence(const Value& value) {
  if (!value.sequence()) return is_iterable(value);
  const auto kind = value.sequence()->kind;
  return kind == Sequence::Kind::kList || kind == Sequence::Kind::kTuple ||
         kind == Sequence::Kind::kRange;
}

template <int64_t rest>
Value has_parity(Interpreter& run, Values& a) {
  return equals(binary_operation("%", a[0], Value(2), run.budget()), Value(rest));
}

Value divisible_by(Interpreter& run, Values& a) {
  return equals(binary_operation("%", a[0], a[1], run.budget()), Value(0));
}

Value ask_string(Interpreter& run, const Value& value, const char* method) {
  return call_builtin(run, method, string_methods().at(method),
                      {{to_text(value, run.budget())}, {}});
}
Value is_lower_case(Interpreter& run, Values& a) { return ask_string(run, a[0], "islower"); }
Value is_upper_case(Interpreter& run, Values& a) { return ask_string(run, a[0], "isupper"); }

// Identity is that of None, booleans and objects; other values are the same where they are equal
// and of one type.
Value same_as(Interpreter&, Values& a) {
  return std::string_view(a[0].type_name()) == a[1].type_name() && equals(a[0], a[1]);
}

Value is_filter(Interpreter&, Values& a) {
  return a[0].text() && filters().contains(a[0].text()->bytes());
}
Value is_test(Interpreter&, Values& a) {
  return a[0].text() && tests().contains(a[0].text()->bytes());
}

struct Sign {
  char text[7];
};
template <Sign sign>
Value compared(Interpreter& run, Values& a) {
  return compare(sign.text, a[0], a[1], run.budget());
}

// Every comparison has several names.
template <Sign sign>
void add_comparison(BuiltinTable& table, std::initializer_list<const char*> names) {
  for (const char* name : names) table.emplace(name, Builtin{{{"a"}, {"b"}}, compared<sign>});
}

BuiltinTable make_tests() {
  const std::vector<Builtin::Parameter> alone = {{"value"}}, two = {{"value"}, {"other"}};
  BuiltinTable table = {
      {"defined", {alone, checked<is_defined>}},
      {"undefined", {alone, checked<is_undefined>}},
      {"none", {alone, checked<is_none>}},
      {"boolean", {alone, checked<is_boolean>}},
      {"true", {alone, checked<is_true>}},
      {"false", {alone, checked<is_false>}},
      {"integer", {alone, checked<is_integer>}},
      {"float", {alone, checked<is_float>}},
      {"number", {alone, checked<is_number>}},
      {"string", {alone, checked<is_string>}},
      {"mapping", {alone, checked<is_mapping>}},
      {"callable", {alone, checked<is_callable>}},
      {"iterable", {alone, checked<is_iterable>}},
      {"sequence", {alone, checked<is_sequence>}},
      {"even", {alone, has_parity<0>}},
      {"odd", {alone, has_parity<1>}},
      {"divisibleby", {two, divisible_by}},
      {"sameas", {two, same_as}},
      {"lower", {alone, is_lower_case}},
      {"upper", {alone, is_upper_case}},
      {"escaped", {alone, checked<is_escaped>}},
      {"filter", {alone, is_filter}},
      {"test", {alone, is_test}},
  };
  add_comparison<Sign{"=="}>(table, {"eq", "equalto", "=="});
  add_comparison<Sign{"!="}>(table, {"ne", "!="});
  add_comparison<Sign{"<"}>(table, {"lt", "lessthan", "<"});
  add_comparison<Sign{"<="}>(table, {"le", "<="});
  add_comparison<Sign{">"}>(table, {"gt", "greaterthan", ">"});
  add_comparison<Sign{">="}>(table, {"ge", ">="});
  add_comparison<Sign{"in"}>(table, {"in"});
  return table;
}

}  // namespace

const BuiltinTable& tests() {
  static const BuiltinTable table = make_tests();
  return table;
}

}  // namespace bitsmith::jinja
