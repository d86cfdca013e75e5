// A template as a tree. Every node knows how to evaluate or execute itself: expressions in
// expressions.cpp, statements in statements.cpp.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja/value.h"

namespace bitsmith::jinja {

class Interpreter;

struct Expression {
  explicit Expression(int line) : line(line) {}
  virtual ~Expression() = default;
  virtual Value evaluate(Interpreter& run) const = 0;
  int line;
  int nesting = 1;  // of expressions inside it
};
using ExpressionPtr = std::unique_ptr<Expression>;
using Expressions = std::vector<ExpressionPtr>;

struct Constant : Expression {
  Constant(int line, Value value) : Expression(line), value(std::move(value)) {}
  Value evaluate(Interpreter&) const override { return value; }
  Value value;
};

struct Name : Expression {
  Name(int line, std::string name) : Expression(line), name(std::move(name)) {}
  Value evaluate(Interpreter& run) const override;
  std::string name;
};

struct SequenceLiteral : Expression {
  SequenceLiteral(int line, Sequence::Kind kind, Expressions items)
      : Expression(line), kind(kind), items(std::move(items)) {}
  Value evaluate(Interpreter& run) const override;
  Sequence::Kind kind;
  Expressions items;
};

struct DictLiteral : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& run) const override;
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> entries;
};

// object.name
struct Attribute : Expression {
  Attribute(int line, ExpressionPtr object, std::string name)
      : Expression(line), object(std::move(object)), name(std::move(name)) {}
  Value evaluate(Interpreter& run) const override;
  ExpressionPtr object;
  std::string name;
};

// object[key]
struct Item : Expression {
  Item(int line, ExpressionPtr object, ExpressionPtr key)
      : Expression(line), object(std::move(object)), key(std::move(key)) {}
  Value evaluate(Interpreter& run) const override;
  ExpressionPtr object, key;
};

// object[begin:end:step]; what is not written is null.
struct Slice : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& run) const override;
  ExpressionPtr object, begin, end, step;
};

struct ArgumentList {
  Expressions positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr more_positional, more_named;  // *a, **b
  Arguments evaluate(Interpreter& run) const;
  int nesting() const;
};

struct Call : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& run) const override;
  Value evaluate_with(Interpreter& run, Arguments arguments) const;
  ExpressionPtr callee;
  ArgumentList arguments;
};

// value | name(arguments). Without a value it is the filter of a block.
struct Filter : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& run) const override;
  Value apply(Interpreter& run, Value value) const;
  ExpressionPtr value;
  std::string name;
  ArgumentList arguments;
};

// value is name(arguments)
struct Test : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& run) const override;
  ExpressionPtr value;
  std::string name;
  ArgumentList arguments;
};

struct Unary : Expression {
  Unary(int line, char sign, ExpressionPtr value)
      : Expression(line), sign(sign), value(std::move(value)) {}
  Value evaluate(Interpreter& run) const override;
  char sign;  // + or -, ! for not
  ExpressionPtr value;
};

struct Binary : Expression {
  Binary(int line, std::string sign, ExpressionPtr left, ExpressionPtr right)
      : Expression(line), sign(std::move(sign)), left(std::move(left)), right(std::move(right)) {}
  Value evaluate(Interpreter& run) const override;
  std::string sign;
  ExpressionPtr left, right;
};

// `and`, `or`: the value of the side that decides.
struct Logical : Expression {
  Logical(int line, bool is_or, ExpressionPtr left, ExpressionPtr right)
      : Expression(line), is_or(is_or), left(std::move(left)), right(std::move(right)) {}
  Value evaluate(Interpreter& run) const override;
  bool is_or;
  ExpressionPtr left, right;
};

// first < second == third ...; also `in` and `not in`.
struct Comparison : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& run) const override;
  ExpressionPtr first;
  std::vector<std::pair<std::string, ExpressionPtr>> others;
};

// a ~ b ~ c
struct Concatenation : Expression {
  Concatenation(int line, Expressions parts) : Expression(line), parts(std::move(parts)) {}
  Value evaluate(Interpreter& run) const override;
  Expressions parts;
};

// a if condition else b
struct Conditional : Expression {
  using Expression::Expression;
  Value evaluate(Interpreter& run) const override;
  ExpressionPtr condition, then, otherwise;  // otherwise: null if not written
};

enum class Flow { kNext, kBreak, kContinue };

struct Statement {
  explicit Statement(int line) : line(line) {}
  virtual ~Statement() = default;
  virtual Flow execute(Interpreter& run) const = 0;
  int line;
};
using Body = std::vector<std::unique_ptr<Statement>>;

// What is assigned to: a name, an attribute of a namespace, or several of these.
struct Target {
  std::string name, attribute;
  std::vector<Target> parts;
  bool is_tuple = false;
};

struct Parameter {
  std::string name;
  ExpressionPtr fallback;  // null: none
};

struct Data : Statement {
  Data(int line, std::string_view text) : Statement(line), text(text) {}
  Flow execute(Interpreter& run) const override;
  Text text;
};

struct Output : Statement {
  Output(int line, ExpressionPtr value) : Statement(line), value(std::move(value)) {}
  Flow execute(Interpreter& run) const override;
  ExpressionPtr value;
};

struct If : Statement {
  using Statement::Statement;
  Flow execute(Interpreter& run) const override;
  std::vector<std::pair<ExpressionPtr, Body>> branches;
  Body otherwise;
};

struct For : Statement {
  using Statement::Statement;
  Flow execute(Interpreter& run) const override;
  Target target;
  ExpressionPtr values, condition;  // condition: null if not written
  bool recursive = false;
  Body body, otherwise;
};

// break, continue
struct Jump : Statement {
  Jump(int line, Flow flow) : Statement(line), flow(flow) {}
  Flow execute(Interpreter&) const override { return flow; }
  Flow flow;
};

struct Set : Statement {
  using Statement::Statement;
  Flow execute(Interpreter& run) const override;
  Target target;
  ExpressionPtr value;
};

// {% set name | filter %}...{% endset %}
struct SetBlock : Statement {
  using Statement::Statement;
  Flow execute(Interpreter& run) const override;
  Target target;
  std::unique_ptr<Filter> filter;  // null: none; its value is another filter or null
  Body body;
};

struct FilterBlock : Statement {
  using Statement::Statement;
  Flow execute(Interpreter& run) const override;
  std::unique_ptr<Filter> filter;
  Body body;
};

struct Macro {
  std::string name;
  std::vector<Parameter> parameters;
  Body body;
  // Whether it speaks of what these names stand for: arguments beyond its parameters, and the body
  // of a call block.
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};

struct MacroDefinition : Statement {
  using Statement::Statement;
  Flow execute(Interpreter& run) const override;
  Macro macro;
};

// {% call(parameters) f(arguments) %}...{% endcall %}: f's `caller` is the body.
struct CallBlock : Statement {
  using Statement::Statement;
  Flow execute(Interpreter& run) const override;
  Macro caller;
  std::unique_ptr<Call> call;
};

// {% with %} and {% generation %}: names set inside end with it.
struct Scope : Statement {
  using Statement::Statement;
  Flow execute(Interpreter& run) const override;
  std::vector<std::pair<Target, ExpressionPtr>> assignments;
  Body body;
};

}  // namespace bitsmith::jinja
