#include "tokenizer/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/strings.h"

namespace bitsmith::jinja {
namespace {

[[noreturn]] void unsupported(std::string_view sign, const Value& left, const Value& right) {
  require_defined(left);
  require_defined(right);
  throw Failure(concat("unsupported operand type(s) for ", sign, ": '", left.type_name(), "' and '",
                       right.type_name(), "'"));
}

int64_t in_range(bool overflows, int64_t value) {
  if (overflows) throw Failure("an integer beyond 64 bits");
  return value;
}

int64_t negated(int64_t value) {
  int64_t result = 0;
  const bool overflows = __builtin_sub_overflow(int64_t{0}, value, &result);
  return in_range(overflows, result);
}

double finite(double value) {
  if (std::isinf(value)) throw Failure("a number beyond the range of floats");
  return value;
}

double divisor(double value) {
  if (value == 0) throw Failure("division by zero");
  return value;
}

// Rounded toward minus infinity, as Python does.
int64_t floor_divide(int64_t a, int64_t b) {
  if (b == -1) return negated(a);
  return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

int64_t modulo(int64_t a, int64_t b) {
  if (b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

double modulo(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

int64_t power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  bool overflows = false;
  for (int64_t left = exponent; left > 0 && !overflows; --left) {
    if (base == 0 || base == 1) return base;
    if (base == -1) return exponent % 2 == 0 ? 1 : -1;
    overflows = __builtin_mul_overflow(result, base, &result);
  }
  return in_range(overflows, result);
}

// Lists and tuples.
bool joins(const Value& left, const Value& right) {
  const auto is_plain = [](const Value& value) {
    return value.is(Sequence::Kind::kList) || value.is(Sequence::Kind::kTuple);
  };
  return is_plain(left) && is_plain(right) && left.sequence()->kind == right.sequence()->kind;
}

// If one is marked as safe, so is the result, and the other is escaped.
Text joined_texts(const Text& left, const Text& right, Budget& budget) {
  const bool safe = left.is_safe() || right.is_safe();
  const auto part = [&](const Text& text) {
    if (!safe || text.is_safe()) return text;
    budget.spend(text.bytes().size());
    return escape_html(text);
  };
  Text text = part(left);
  text.append(part(right));
  return safe ? text.marked_safe() : text;
}

Value add(const Value& left, const Value& right, Budget& budget) {
  if (left.integer() && right.integer()) {
    int64_t sum = 0;
    const bool overflows = __builtin_add_overflow(*left.integer(), *right.integer(), &sum);
    return in_range(overflows, sum);
  }
  if (left.number() && right.number()) return *left.number() + *right.number();
  if (left.text() && right.text()) {
    budget.spend_bytes(left.text()->bytes().size() + right.text()->bytes().size());
    return joined_texts(*left.text(), *right.text(), budget);
  }
  if (joins(left, right)) {
    Values items = left.sequence()->items;
    const Values& more = right.sequence()->items;
    budget.spend(items.size() + more.size());
    items.insert(items.end(), more.begin(), more.end());
    return Value::sequence(left.sequence()->kind, std::move(items));
  }
  require_defined(left);
  require_defined(right);
  if (left.text())
    throw Failure(concat("can only concatenate str (not \"", right.type_name(), "\") to str"));
  unsupported("+", left, right);
}

Value subtract(const Value& left, const Value& right, Budget&) {
  if (left.integer() && right.integer()) {
    int64_t difference = 0;
    const bool overflows = __builtin_sub_overflow(*left.integer(), *right.integer(), &difference);
    return in_range(overflows, difference);
  }
  if (left.number() && right.number()) return *left.number() - *right.number();
  unsupported("-", left, right);
}

Value repeat(const Value& value, int64_t times, Budget& budget) {
  const auto count = static_cast<size_t>(std::max<int64_t>(times, 0));
  if (const Text* text = value.text()) {
    if (text->empty()) return value;
    budget.spend_bytes(Budget::product(text->bytes().size(), count));
    Text result;
    for (size_t i = 0; i < count; ++i) result.append(*text);
    return result;
  }
  const Values& items = value.sequence()->items;
  budget.spend(Budget::product(items.size(), count));
  Values result;
  for (size_t i = 0; i < count && !items.empty(); ++i)
    result.insert(result.end(), items.begin(), items.end());
  return Value::sequence(value.sequence()->kind, std::move(result));
}

bool repeats(const Value& value) { return value.text() || joins(value, value); }

Value multiply(const Value& left, const Value& right, Budget& budget) {
  if (left.integer() && right.integer()) {
    int64_t product = 0;
    const bool overflows = __builtin_mul_overflow(*left.integer(), *right.integer(), &product);
    return in_range(overflows, product);
  }
  if (left.number() && right.number()) return *left.number() * *right.number();
  if (repeats(left) && right.integer()) return repeat(left, *right.integer(), budget);
  if (repeats(right) && left.integer()) return repeat(right, *left.integer(), budget);
  unsupported("*", left, right);
}

Value divide(const Value& left, const Value& right, Budget&) {
  if (left.number() && right.number()) return *left.number() / divisor(*right.number());
  unsupported("/", left, right);
}

Value floor_division(const Value& left, const Value& right, Budget&) {
  if (!left.number() || !right.number()) unsupported("//", left, right);
  divisor(*right.number());
  if (left.integer() && right.integer()) return floor_divide(*left.integer(), *right.integer());
  const double a = *left.number(), b = *right.number();
  const double quotient = std::nearbyint((a - modulo(a, b)) / b);
  return quotient == 0 ? std::copysign(0.0, a / b) : quotient;
}

Value remainder(const Value& left, const Value& right, Budget& budget) {
  if (left.text()) return percent_format(*left.text(), right, budget);
  if (!left.number() || !right.number()) unsupported("%", left, right);
  divisor(*right.number());
  if (left.integer() && right.integer()) return modulo(*left.integer(), *right.integer());
  return modulo(*left.number(), *right.number());
}

Value raise(const Value& left, const Value& right, Budget&) {
  if (!left.number() || !right.number()) unsupported("**", left, right);
  if (left.integer() && right.integer() && *right.integer() >= 0)
    return power(*left.integer(), *right.integer());
  if (*left.number() == 0 && *right.number() < 0) throw Failure("zero to a negative power");
  const double result = std::pow(*left.number(), *right.number());
  if (std::isnan(result) && !std::isnan(*left.number()) && !std::isnan(*right.number()))
    throw Failure("a power of a negative number that is not real");
  return std::isinf(*left.number()) || std::isinf(*right.number()) ? result : finite(result);
}

}  // namespace

Value binary_operation(std::string_view sign, const Value& left, const Value& right,
                       Budget& budget) {
  using Operation = Value (*)(const Value&, const Value&, Budget&);
  static const std::map<std::string_view, Operation> kOperations = {
      {"+", add},       {"-", subtract}, {"*", multiply}, {"/", divide}, {"//", floor_division},
      {"%", remainder}, {"**", raise}};
  return kOperations.at(sign)(left, right, budget);
}

Value signed_value(char sign, const Value& value) {
  require_defined(value);
  if (!value.number())
    throw Failure(concat("bad operand type for unary ", sign, ": '", value.type_name(), "'"));
  if (value.is_float()) return sign == '-' ? -*value.number() : *value.number();
  return sign == '-' ? negated(*value.integer()) : *value.integer();
}

bool contains(const Value& values, const Value& value, Budget& budget) {
  if (const Text* text = values.text()) {
    if (!value.text())
      throw Failure(
          concat("'in <string>' requires string as left operand, not ", value.type_name()));
    budget.spend_bytes(text->bytes().size());
    return text->bytes().find(value.text()->bytes()) != std::string::npos;
  }
  if (values.dict()) {
    if (value.dict() || value.is(Sequence::Kind::kList))
      throw Failure(concat("unhashable type: '", value.type_name(), "'"));
    return values.dict()->find(value) != nullptr;
  }
  if (!values.sequence() && !values.is_undefined())
    throw Failure(concat("argument of type '", values.type_name(), "' is not iterable"));
  const Values items = items_of(values, budget);
  budget.spend(values.size());
  return std::ranges::any_of(items, [&](const Value& item) { return equals(item, value); });
}

bool compare(std::string_view sign, const Value& left, const Value& right, Budget& budget) {
  budget.spend(std::min(left.size(), right.size()));
  if (sign == "==") return equals(left, right);
  if (sign == "!=") return !equals(left, right);
  if (sign == "in") return contains(right, left, budget);
  if (sign == "not in") return !contains(right, left, budget);
  if (sign == "<") return less(left, right, "<");
  if (sign == ">") return less(right, left, ">");
  // Not the opposite of > and <, for numbers that are not a number.
  const char* name = sign == "<=" ? "<=" : ">=";
  return (sign == "<=" ? less(left, right, name) : less(right, left, name)) || equals(left, right);
}

}  // namespace bitsmith::jinja
