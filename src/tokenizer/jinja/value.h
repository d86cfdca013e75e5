// What a template computes with: Python's values, as far as templates have them.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "tokenizer/jinja/text.h"

namespace bitsmith::jinja {

// What a template does wrong. The interpreter adds the line.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The template itself refuses what it is given: raise_exception().
class Refusal : public Failure {
 public:
  using Failure::Failure;
};

class Budget;
class Value;
class Dict;
class Object;
using Values = std::vector<Value>;

// Several values in order. A generator is used up by one pass over it.
struct Sequence {
  enum class Kind { kList, kTuple, kRange, kGenerator, kKeys, kValues, kItems };
  Kind kind = Kind::kList;
  Values items;
  size_t used = 0;  // of a generator
  int nesting = 1;
  size_t size = 1;
};

// Values are immutable but for generators and objects. An object belongs to the interpreter that
// made it and lives as long.
class Value {
 public:
  Value() = default;  // None
  Value(bool value) : data_(value) {}
  Value(int value) : data_(int64_t{value}) {}
  Value(int64_t value) : data_(value) {}
  Value(size_t value) : data_(static_cast<int64_t>(value)) {}
  Value(double value) : data_(value) {}
  Value(Text value) : data_(std::make_shared<const Text>(std::move(value))) {}
  Value(std::string_view own) : Value(Text(own)) {}
  Value(const std::string& own) : Value(Text(own)) {}
  Value(const char* own) : Value(Text(own)) {}
  Value(Dict value);
  Value(Object* object) : data_(object) {}
  // `reason`: what is said when it is used as if it were there.
  static Value undefined(std::string reason);
  // Throws Failure for values nested too deeply, and for those of too large a size().
  static Value sequence(Sequence::Kind kind, Values items);
  static Value list(Values items) { return sequence(Sequence::Kind::kList, std::move(items)); }
  static Value tuple(Values items) { return sequence(Sequence::Kind::kTuple, std::move(items)); }
  static Value generator(Values items) {
    return sequence(Sequence::Kind::kGenerator, std::move(items));
  }
  // All strings of it, keys too, are foreign text.
  static Value foreign(const OrderedJson& json);

  bool is_none() const { return std::holds_alternative<std::monostate>(data_); }
  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_integer() const { return std::holds_alternative<int64_t>(data_); }
  bool is_number() const { return is_bool() || is_float() || is_integer(); }
  bool is(Sequence::Kind kind) const { return sequence() && sequence()->kind == kind; }

  // Null where it is something else.
  const Text* text() const { return shared<const Text>(); }
  Sequence* sequence() const { return shared<Sequence>(); }
  const Dict* dict() const { return shared<const Dict>(); }
  Object* object() const;
  // Python's integers: True is 1.
  std::optional<int64_t> integer() const;
  std::optional<double> number() const;
  // The reason of an undefined value.
  const std::string& reason() const { return *std::get<Undefined>(data_).reason; }

  bool truth() const;
  int nesting() const;
  // What looking at all of it takes, in steps of Limits. A value inside counts as often as it
  // occurs.
  size_t size() const;
  const char* type_name() const;         // 'str', 'NoneType', ...
  std::string type_description() const;  // as messages have it: 'str object', 'None'

 private:
  struct Undefined {
    std::shared_ptr<const std::string> reason;
  };
  template <typename T>
  T* shared() const {
    const auto* pointer = std::get_if<std::shared_ptr<T>>(&data_);
    return pointer ? pointer->get() : nullptr;
  }
  std::variant<std::monostate, Undefined, bool, int64_t, double, std::shared_ptr<const Text>,
               std::shared_ptr<Sequence>, std::shared_ptr<const Dict>, Object*>
      data_;
};

// Python's dict: pairs in the order of their first insertion.
class Dict {
 public:
  // Throws Failure for a key that cannot be hashed, beyond 4,096 keys that are no strings, and as
  // Value::sequence().
  void set(Value key, Value value);
  const Value* find(const Value& key) const;
  const Value* find_text(std::string_view key) const;
  const std::vector<std::pair<Value, Value>>& entries() const { return entries_; }
  Values keys() const;
  Values values() const;
  Values items() const;  // tuples of two
  int nesting() const { return nesting_; }
  size_t size() const { return size_; }

 private:
  std::optional<size_t> index_of(const Value& key) const;
  std::vector<std::pair<Value, Value>> entries_;
  std::unordered_map<std::string, size_t> by_text_;
  std::vector<size_t> others_;  // entries whose keys are no strings
  int nesting_ = 1;
  size_t size_ = 1;
};

struct Arguments {
  Values positional;
  std::vector<std::pair<std::string, Value>> named;
};

class Interpreter;

// What has behavior of its own: macros, loops, namespaces, methods.
class Object {
 public:
  virtual ~Object() = default;
  virtual const char* type_name() const = 0;
  virtual std::string print() const;
  virtual std::optional<Value> attribute(Interpreter& interpreter, std::string_view name);
  virtual bool callable() const { return false; }
  virtual Value call(Interpreter& interpreter, Arguments arguments);
};

// a == b. Throws Failure only for values nested too deeply.
bool equals(const Value& a, const Value& b);
// a < b. Throws Failure where the two have no order.
bool less(const Value& a, const Value& b, const char* sign = "<");
// The values that a loop goes over; a generator is used up. Throws Failure where there are none.
Values items_of(const Value& value, Budget& budget);
// Throws Failure unless it is there.
void require_defined(const Value& value);

}  // namespace bitsmith::jinja
